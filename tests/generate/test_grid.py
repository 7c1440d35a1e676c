"""Grid LSTM: the wavefront against a loop over cells, what each pixel sees, probabilities that sum to one."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from condgen_cli.testing import check_model
from condgen_generate.grid import GridLstm, neighbourhood
from condgen_generate.image_model import ImageConfig, ImageModel
from condgen_generate.wavefront import diagonals, wavefront

NETWORKS = {
    "grid": {"network": "grid", "size": 3, "layers": 2, "back_layers": 2, "radius": 1},
    "grid without the pass from the right": {"network": "grid", "size": 3, "layers": 1, "back_layers": 0, "radius": 2},
    "raster": {"network": "raster", "size": 5, "layers": 2},
}


def model_of(name: str, height: int, width: int, colors: int = 2) -> ImageModel:
    torch.manual_seed(1)
    palette = [f"{64 * number:06x}" for number in range(colors)]
    config = {**NETWORKS[name], "height": height, "width": width, "palette": palette, "readout_size": 5}
    model = ImageModel(ImageConfig.model_validate(config)).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0, 0.7)
    return model.eval()


def by_cells(below: Tensor, memory: Tensor, weight: Tensor, bias: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The equations, a cell at a time."""
    _, batch, size = memory.shape
    nothing = memory.new_zeros(batch, size)
    hidden: dict[tuple[int, int], tuple[Tensor, ...]] = {}
    memories: dict[tuple[int, int], tuple[Tensor, ...]] = {}
    outside = (nothing, nothing, nothing)
    for row, column in itertools.product(range(height), range(width)):
        place = row * width + column
        left, above = (row, column - 1), (row - 1, column)
        seen = [hidden.get(left, outside)[0], hidden.get(above, outside)[1], below[place]]
        entered, kept, shown, candidate = (torch.cat(seen, 1) @ weight + bias[place]).chunk(4, 1)
        old = torch.cat([memories.get(left, outside)[0], memories.get(above, outside)[1], memory[place]], 1)
        new = kept.sigmoid() * old + entered.sigmoid() * candidate.tanh()
        memories[row, column] = new.chunk(3, 1)
        hidden[row, column] = (shown.sigmoid() * new.tanh()).chunk(3, 1)
    return tuple(
        torch.stack([cells[divmod(place, width)][2] for place in range(height * width)]) for cells in (hidden, memories)
    )  # type: ignore[return-value]


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 100))
def test_wavefront_is_the_loop_over_cells(height: int, width: int, batch: int, size: int, seed: int) -> None:
    torch.manual_seed(seed)
    shapes = [(height * width, batch, 4), (height * width, batch, size), (2 * size + 4, 12 * size), (height * width, 12 * size)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    found = wavefront(inputs[0].split([1, 3], 2), *inputs[1:], height, width)
    wanted = by_cells(*inputs, height, width)
    upstream = [torch.randn_like(one) for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    slopes, wanted_slopes = (torch.autograd.grad(outputs, inputs, upstream, allow_unused=True) for outputs in (found, wanted))
    for slope, other in zip(slopes, wanted_slopes, strict=True):
        torch.testing.assert_close(slope, other)


@given(st.integers(1, 7), st.integers(1, 7))
def test_diagonals_hold_each_cell_once_and_lead_to_its_neighbours(height: int, width: int) -> None:
    steps, places, back = diagonals(height, width)
    assert sorted(places.tolist()) == list(range(height * width))
    assert places[back].tolist() == list(range(height * width))
    pairs = []
    for step in steps:
        cells = places[step.cells]
        assert len({divmod(place, width)[0] + place % width for place in cells.tolist()}) == 1
        pairs += list(zip(places[step.with_right].tolist(), places[step.right].tolist(), strict=True))
        pairs += list(zip(places[step.with_below].tolist(), places[step.below].tolist(), strict=True))
    right = [(place, place + 1) for place in range(height * width) if (place + 1) % width]
    below = [(place, place + width) for place in range((height - 1) * width)]
    assert sorted(pairs) == sorted(right + below)


def test_neighbourhood_by_hand() -> None:
    assert neighbourhood(3, 3, 1, whole_row=False)[4].tolist() == [0, 1, 2, 3]
    assert neighbourhood(3, 3, 1, whole_row=False)[2].tolist() == [9, 9, 9, 1]
    assert neighbourhood(3, 3, 1, whole_row=True)[5].tolist() == [1, 2, 9, 4, 5, 9]


@pytest.mark.parametrize("name", NETWORKS)
def test_probabilities_of_all_pictures_sum_to_one(name: str) -> None:
    model = model_of(name, 3, 3)
    pictures = torch.tensor(list(itertools.product((0, 1), repeat=9)))
    losses = F.cross_entropy(model.pixel_logits(pictures).flatten(0, 1), pictures.flatten(), reduction="none")
    assert (-losses.view(512, 9).sum(1)).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_pixel_sees_its_future_and_most_see_their_past(name: str) -> None:
    model = model_of(name, 4, 5)
    generator = torch.Generator().manual_seed(2)
    pictures = torch.randint(0, 2, (8, 20), generator=generator)
    before = model.pixel_logits(pictures)
    sees = torch.zeros(20, 20, dtype=torch.bool)
    for place in range(20):
        changed = pictures.clone()
        changed[:, place] = 1 - changed[:, place]
        sees[:, place] = (model.pixel_logits(changed) - before).abs().amax((0, 2)) > 1e-12
    assert not sees.triu().any()
    if name != "grid without the pass from the right":
        assert bool(sees[torch.ones(20, 20).tril(-1).bool()].all()), "every earlier pixel counts"
    else:
        assert not sees[15, 4], "above to the right: out of reach"
        assert sees[15, 2]
        assert sees[19, 0]


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_agree_with_differences(name: str) -> None:
    model = model_of(name, 2, 3)
    pictures = torch.tensor([[0, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 1]])

    def loss(*values: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, dict(zip(names, values, strict=True)), (pictures,), tie_weights=False)
        return F.cross_entropy(logits.flatten(0, 1), pictures.flatten())

    model.forward = model.pixel_logits  # type: ignore[method-assign, assignment]
    names = [name for name, _ in model.named_parameters()]
    values = [parameter.detach().requires_grad_() for parameter in model.parameters()]
    assert torch.autograd.gradcheck(loss, values, fast_mode=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_contract(name: str) -> None:
    model = model_of(name, 3, 4, colors=3).float()
    check_model(model, [model.example(), model.example()])


def test_pass_from_the_right_sees_what_is_above_to_the_right() -> None:
    torch.manual_seed(0)
    network = GridLstm(3, 6, 2, size=3, layers=1, back_layers=1, radius=1)
    pictures = torch.zeros(2, 18, dtype=torch.int64)
    pictures[1, 5] = 1  # the end of the first row
    first, other = network(F.one_hot(pictures, 2).float()).unbind(1)
    assert not torch.equal(first[12], other[12]), "seen from the beginning of the last row"
    assert torch.equal(first[:6], other[:6])
