"""What an output depends on: windows, occlusion, gradients and faithfulness of models whose causes are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from condgen_cli.errors import UsageError
from condgen_cli.explain.curves import Judge
from condgen_cli.explain.gradient import gradient_norm, gradient_times_value, integrate_gradients
from condgen_cli.explain.occlusion import occlude
from condgen_cli.explain.removal import MemoryRemoval
from condgen_cli.explain.windows import make_windows
from condgen_cli.generation import Axis, Generation
from condgen_cli.metrics.evaluation import by_method, evaluate
from condgen_cli.metrics.faithfulness import Faithfulness
from condgen_cli.metrics.suite import Suite
from condgen_cli.model import Item, Memory, Predictor, SequenceModel, Step
from condgen_cli.running.decoding import Decoding
from condgen_cli.running.request import Request
from condgen_cli.running.runner import Bundle, Runner


class Letters:
    pad, bos, eos, unk = range(4)

    def __len__(self) -> int:
        return 6

    def encode(self, text: str) -> list[int]:
        return [4 + "ab".index(letter) for letter in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join("ab"[index - 4] for index in ids if index > 3)

    def token(self, index: int) -> str:
        return "<eos>" if index == self.eos else self.decode([index])


class State(NamedTuple):
    step: Tensor


SIZE = 8


class Known(SequenceModel):
    """Writes ``ab``. The letter of step t depends on the position ``cause[t]`` of its memory alone: the larger the value there,
    the more probable. A row holds ``SIZE`` positions, of which the item's number are real. Attention is on ``shown[t]``."""

    def __init__(self, cause: Sequence[int] = (2, 5, 5), shown: Sequence[int] = (2, 5, 5)) -> None:
        super().__init__()
        self.vocabulary = Letters()
        self.cause, self.shown = list(cause), list(shown)

    def collate(self, items: Sequence[Item]) -> list[int]:
        return [item.condition for item in items]

    def encode(self, batch: list[int]) -> Memory:
        values = torch.zeros(len(batch), SIZE, 1)
        values[:, self.cause] = 3.0
        mask = torch.arange(SIZE) < torch.tensor(batch).unsqueeze(1)
        axes = [(Axis("source", "tokens", tuple(f"w{index}" for index in range(count))),) for count in batch]
        return Memory(values, mask=mask, axes=axes)

    def start(self, memory: Memory, rows_per_item: int = 1) -> State:
        return State(torch.zeros(len(memory) * rows_per_item, dtype=torch.long))

    def step(self, token: Tensor, state: State, memory: Memory) -> Step:
        step = min(int(state.step[0]), 2)
        rows = len(token) // len(memory)
        value = memory.values[:, self.cause[step], 0].repeat_interleave(rows)
        logits = torch.zeros(len(token), 6)
        logits[:, [4, 5, 2][step]] = value
        attention = torch.zeros(len(token), SIZE)
        attention[:, self.shown[step]] = 1.0
        return Step(logits, State(state.step + 1), {"attention": attention})


def runner(model: SequenceModel | Predictor) -> Runner:
    bundle = Bundle("known", "t", "known", {}, {"method": "greedy", "max_length": 5}, {})
    return Runner(model.eval(), bundle, torch.device("cpu"))


def removal(model: Known, count: int = SIZE) -> MemoryRemoval:
    memory = model.encode([count])
    return MemoryRemoval(model, memory, [4, 5, 2], tuple(memory.axes[0]))


def log_prob(value: float) -> float:
    return float(value - np.log(np.exp(value) + 5))


@pytest.mark.parametrize("count", [SIZE, 6])
def test_occlusion_is_the_fall_of_the_log_probability_at_the_cause_alone(count: int) -> None:
    found = occlude(removal(Known(), count))
    fall = log_prob(3.0) - log_prob(6.0 / count)  # two of the real positions hold 3, the mean is 6 / count
    expected = np.zeros((3, count))
    expected[[0, 1, 2], [2, 5, 5]] = fall
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_gradients_are_those_at_the_cause() -> None:
    mean, p = 6.0 / SIZE, np.exp(3.0) / (np.exp(3.0) + 5)
    found = gradient_times_value(removal(Known()))
    np.testing.assert_allclose(found[0, 2], (1 - p) * (3 - mean), rtol=1e-5)
    assert np.count_nonzero(found) == 3
    np.testing.assert_allclose(gradient_norm(removal(Known()))[1, 5], 1 - p, rtol=1e-5)


def test_integrated_gradients_add_up_to_what_the_memory_is_worth() -> None:
    found = integrate_gradients(removal(Known()))
    np.testing.assert_allclose(found.sum(1), log_prob(3.0) - log_prob(6.0 / SIZE), rtol=1e-2)


@pytest.mark.parametrize("method", [gradient_times_value, gradient_norm, integrate_gradients, occlude])
def test_encoding_in_inference_mode_and_padding_change_nothing(method: object) -> None:
    assert callable(method)
    with torch.inference_mode():
        inside = method(removal(Known(), 6))
    assert inside.shape == (3, 6)
    np.testing.assert_allclose(inside, method(removal(Known(), 6)), rtol=1e-6)


def test_windows_are_words_cells_and_tenths_of_seconds() -> None:
    pieces = make_windows([Axis("source", "tokens", ("▁ho", "rse", "▁runs", "<eos>"))])
    assert pieces.of.tolist() == [0, 0, 1, 2]
    assert pieces.hidden.astype(int).tolist() == [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    grid = make_windows([Axis.numbered("row", "grid", 6), Axis.numbered("column", "grid", 7)])
    assert grid.hidden.shape == (42, 42)
    assert np.flatnonzero(grid.hidden[grid.of[0]]).tolist() == [0, 1, 7, 8]
    assert grid.hidden[grid.of[7 * 3 + 3]].reshape(6, 7)[2:5, 2:5].all()
    assert grid.hidden[grid.of[7 * 3 + 3]].sum() == 9
    time = make_windows([Axis("time", "time", tuple(0.04 * place for place in range(1000)))])
    assert len(time.hidden) <= 96
    assert time.hidden.any(0).all()
    assert all(time.hidden[time.of[place], place] for place in range(1000))
    frames = make_windows([Axis("frame", "frames", (0.0, 1.0, 2.0))])
    assert frames.hidden.tolist() == np.eye(3, dtype=bool).tolist()


@pytest.mark.parametrize("count", [SIZE, 1, 2, 7])
def test_faithfulness_is_1_for_the_true_map_0_for_random_below_0_for_the_reverse(count: int) -> None:
    one = removal(Known((0, 0, 0)), count)
    true = np.zeros((3, count))
    true[:, 0] = 1.0
    metric = Faithfulness()

    def score(*maps: NDArray[np.float64]) -> dict[str, float]:
        curves = [Judge(one, 3, seed).curves(map) for seed, map in enumerate(maps)]
        rows = metric.statistics([Item("", None)] * len(maps), [Generation("", curves={"m": each}) for each in curves])
        return {key: float(value) for key, value in metric.score(rows.sum(0), len(rows)).items()}

    if count == 1:
        assert np.isnan(score(true)["faithfulness"])  # without positions there is nothing to be faithful to
        return
    assert score(true)["faithfulness"] == pytest.approx(1)
    assert score(-true)["faithfulness"] == pytest.approx(-1)
    drawn = np.random.default_rng(1).random((200, 3, count))
    assert abs(score(*drawn)["faithfulness"]) < 0.15
    assert score(true)["evidence"] == pytest.approx(log_prob(3.0) - log_prob(3.0 / count))


def test_eval_scores_maps_of_the_models_own_outputs() -> None:
    items = [Item(str(number), number, ("ab",)) for number in (SIZE, 6, 7)]
    suite = Suite([Faithfulness()], Faithfulness.keys)
    one = {"cause": (5, 5, 5)}

    def score(model: Known, *methods: str) -> dict[str, float]:
        done = evaluate(runner(model), items, suite, explain=methods)
        assert {one.output for one in done.generations} == {"ab"}
        return {key: float(value) for key, value in suite.score(done.statistics.sum(0), len(items)).items()}

    assert score(Known(**one, shown=(5, 5, 5)))["faithfulness"] == pytest.approx(1)
    assert score(Known(**one, shown=(1, 1, 1)))["faithfulness"] < 0.5
    assert score(Known(**one, shown=(1, 1, 1)), "occlusion")["faithfulness"] == pytest.approx(1)
    assert score(Known(**one, shown=(1, 1, 1)), "gradient")["faithfulness"] == pytest.approx(1)
    both = evaluate(runner(Known(**one, shown=(1, 1, 1))), items, suite, explain=("attention", "gradient"), keep_attention=True)
    apart = by_method(suite, both, ("attention", "gradient"))
    assert [one.name for one in apart] == ["known by attention", "known by gradient"]
    assert [tuple(one.generations[0].attention) for one in apart] == [("attention",), ("gradient",)]
    values = [float(suite.score(one.statistics.sum(0), len(items))["faithfulness"]) for one in apart]
    assert values[0] < 0.5
    assert values[1] == pytest.approx(1)


def test_maps_are_named_after_their_methods_and_hold_shares() -> None:
    methods = ("occlusion", "attention", "gradient-norm")
    (result,) = runner(Known(shown=(0, 0, 0))).stream([Item("1", 6)], Request(explain=methods))
    (found,) = result.generations
    assert tuple(found.attention) == methods
    assert [axis.kind for axis in found.attention["occlusion"].axes] == ["tokens", "tokens"]
    assert found.attention["occlusion"].weights.tolist() == found.attention["gradient-norm"].weights.tolist()
    assert found.attention["occlusion"].weights.argmax(1).tolist() == [2, 5, 5]
    assert found.attention["attention"].weights.argmax(1).tolist() == [0, 0, 0]
    assert found.extras["occlusion"] == pytest.approx([log_prob(3.0) - log_prob(1.0)] * 3)


def test_a_contrast_shows_what_speaks_for_each_output() -> None:
    (result,) = runner(Known()).stream([Item("1", SIZE)], Request(force="ab", explain=("occlusion",), contrast="b"))
    (found,) = result.generations
    map = found.attention["occlusion"]
    assert map.steps.labels == ("ab", "b")
    # position 2 makes "a" likely at the first step; position 5 makes "b" and the end likely at the second and third
    assert map.weights[0].argmax() in (2, 5)
    assert map.weights[0].sum() == pytest.approx(1)
    assert not map.weights[1].any()


class Chooser(Predictor):
    """Answers ``yes`` if the last of the item's words is ``sun``; its attention is on the first."""

    def collate(self, items: Sequence[Item]) -> list[str]:
        return [item.condition for item in items]

    def predict(self, batch: list[str]) -> list[Generation]:
        return [Generation("yes", ("yes",), scores) for scores in self.score(batch, [("yes",)] * len(batch))]

    def score(self, batch: list[str], outputs: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        return [np.log(np.array([0.9 if text.endswith("sun") else 0.1], np.float32)) for text in batch]

    def parts(self, item: Item) -> tuple[Axis, ...]:
        return (Axis("word", "tokens", tuple(item.condition.split())),)

    def occlude(self, item: Item, hidden: NDArray[np.bool_]) -> list[Item]:
        words = np.array(item.condition.split())
        return [Item(item.id, " ".join(words[~row])) for row in hidden]


def test_parts_of_the_input_are_hidden_where_a_model_predicts() -> None:
    item = Item("1", "we like the sun")
    (result,) = runner(Chooser()).stream([item], Request(explain=("input-occlusion",), curves=True))
    (found,) = result.generations
    assert found.attention["input-occlusion"].weights.tolist() == [[0, 0, 0, 1]]
    rows = Faithfulness().statistics([item], [found])
    assert Faithfulness().score(rows[0], 1)["faithfulness"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("model", "method", "hint"),
    [
        (Chooser(), "occlusion", "input-occlusion"),
        (Chooser(), "attention", "input-occlusion"),
        (Known(), "input-occlusion", "attention"),
    ],
)
def test_what_a_method_cannot_explain_is_an_error_with_another_method(
    model: SequenceModel | Predictor, method: str, hint: str
) -> None:
    condition = "a sun" if isinstance(model, Chooser) else SIZE
    (result,) = runner(model).stream([Item("1", condition)], Request(explain=(method,)))
    assert isinstance(result.error, UsageError)
    assert hint in (result.error.hint or "")


def test_decoding_is_not_changed_by_explaining() -> None:
    plain, explained = (
        next(iter(runner(Known()).stream([Item("1", SIZE)], Request(Decoding(max_length=4), explain=methods))))
        for methods in ((), ("occlusion",))
    )
    assert plain.generations[0].output == explained.generations[0].output
    np.testing.assert_array_equal(plain.generations[0].log_probs, explained.generations[0].log_probs)
