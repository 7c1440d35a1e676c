"""Addressing and memory against the paper's equations, written as slow loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from condgen_ntm.addressing import AddressingParameters, FullAddressing, SimpleAddressing, interpolate, sharpen, shift
from condgen_ntm.memory import read, write


def weightings(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).double().softmax(-1)


def by_the_equations(
    keys: Tensor, beta: Tensor, g: Tensor, s: Tensor, gamma: Tensor, memory: Tensor, previous: Tensor
) -> list[list[list[float]]]:
    """Equations 5 to 9, one number at a time. ``s`` is by shift: the share of -1, of 0, of 1."""
    batch, heads, slots = previous.shape
    result = []
    for b in range(batch):
        rows = []
        for h in range(heads):
            k = keys[b, h].tolist()
            cosines = []
            for i in range(slots):
                m = memory[b, i].tolist()
                dot = sum(x * y for x, y in zip(k, m, strict=True))
                cosines.append(dot / math.hypot(*k) / math.hypot(*m))
            powers = [math.exp(float(beta[b, h]) * cosine) for cosine in cosines]
            content = [power / sum(powers) for power in powers]
            gate = float(g[b, h])
            gated = [gate * c + (1 - gate) * float(previous[b, h, i]) for i, c in enumerate(content)]
            shifted = [sum(gated[(i - by) % slots] * float(s[b, h, by + 1]) for by in (-1, 0, 1)) for i in range(slots)]
            sharp = [w ** float(gamma[b, h]) for w in shifted]
            rows.append([w / sum(sharp) for w in sharp])
        result.append(rows)
    return result


def test_full_addressing_is_equations_5_to_9() -> None:
    torch.manual_seed(1)
    heads, size, slots, batch = 2, 3, 7, 2
    addressing = FullAddressing(heads, size, 1).double()
    emitted = AddressingParameters(*(torch.randn(batch, n, dtype=torch.double) * 2 for n in addressing.sizes))
    memory, previous = torch.randn(batch, slots, size, dtype=torch.double), weightings(batch, heads, slots)
    found = addressing(emitted, memory, previous)
    positive = torch.nn.functional.softplus(emitted.positive)
    moves = emitted.moves.view(batch, heads, 3).softmax(-1).flip(-1)  # emitted from 1 to -1
    keys = emitted.keys.tanh().view(batch, heads, size)
    gates = emitted.gate.sigmoid()
    expected = by_the_equations(keys, positive[:, :heads], gates, moves, positive[:, heads:] + 1, memory, previous)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.double), atol=1e-9, rtol=1e-7)


def test_simple_addressing_is_the_softmax_of_scaled_cosines() -> None:
    addressing = SimpleAddressing(1, 2)
    emitted = AddressingParameters(torch.tensor([[20.0, 0.0]]), *[torch.zeros(1, 0)] * 3)
    memory = torch.tensor([[[2.0, 0.0], [0.0, 5.0], [-1.0, 0.0]]])
    weights = addressing(emitted, memory, torch.zeros(1, 1, 3))
    # the core's cosine match starts with a sharpness of 10
    torch.testing.assert_close(weights, torch.tensor([[[10.0, 0.0, -10.0]]]).softmax(-1))


@settings(max_examples=30)
@given(slots=st.integers(3, 12), reach=st.integers(0, 1), seed=st.integers(0, 1000))
def test_shift_is_a_circular_convolution(slots: int, reach: int, seed: int) -> None:
    weights, kernel = weightings(2, 3, slots, seed=seed), weightings(2, 3, 2 * reach + 1, seed=seed + 1)
    shifted = shift(weights, kernel)
    expected = sum(weights.roll(reach - u, -1) * kernel[..., u : u + 1] for u in range(2 * reach + 1))
    torch.testing.assert_close(shifted, expected)
    torch.testing.assert_close(shifted.sum(-1), torch.ones(2, 3, dtype=torch.double))


def test_a_whole_shift_moves_a_weight_to_the_next_slot_and_around() -> None:
    weights = torch.tensor([[[0.0, 0.0, 1.0]]])
    forward, back = torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]])
    assert shift(weights, forward).tolist() == [[[1.0, 0.0, 0.0]]]
    assert shift(weights, back).tolist() == [[[0.0, 1.0, 0.0]]]


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), gate=st.floats(0, 1))
def test_interpolation_goes_from_the_previous_to_the_content_weighting(seed: int, gate: float) -> None:
    content, previous = weightings(1, 2, 5, seed=seed), weightings(1, 2, 5, seed=seed + 1)
    mixed = interpolate(content, previous, torch.full((1, 2, 1), gate, dtype=torch.double))
    torch.testing.assert_close(mixed, gate * content + (1 - gate) * previous)
    torch.testing.assert_close(mixed.sum(-1), torch.ones(1, 2, dtype=torch.double))


def test_sharpening_by_one_changes_nothing_and_by_much_leaves_the_largest() -> None:
    weights = torch.tensor([[[0.2, 0.5, 0.3, 0.0]]])
    torch.testing.assert_close(sharpen(weights, torch.ones(1, 1, 1)), weights)
    torch.testing.assert_close(sharpen(weights, torch.full((1, 1, 1), 2.0)), torch.tensor([[[4.0, 25.0, 9.0, 0.0]]]) / 38)
    assert sharpen(weights, torch.full((1, 1, 1), 100.0)).argmax() == 1


def test_reading_is_the_weighted_sum_of_slots() -> None:
    memory = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert read(memory, torch.tensor([[[0.25, 0.75], [1.0, 0.0]]])).tolist() == [[2.5, 3.5, 1.0, 2.0]]


def test_writing_erases_then_adds() -> None:
    memory = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    weights, erase, add = torch.tensor([[[1.0, 0.5]]]), torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[10.0, 20.0]]])
    # slot 0: 1·(1-1)+10, 2+20; slot 1: 3·(1-0.5)+5, 4+10
    assert write(memory, weights, erase, add).tolist() == [[[10.0, 22.0], [6.5, 14.0]]]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_all_heads_erase_before_any_adds(order: tuple[int, int]) -> None:
    memory = torch.tensor([[[8.0], [8.0]]])
    weights, erase = torch.tensor([[[1.0, 0.0], [0.5, 0.5]]]), torch.tensor([[[0.5], [0.5]]])
    add = torch.tensor([[[1.0], [2.0]]])
    heads = list(order)
    # slot 0: 8 · 0.5 · 0.75 + 1 + 1; slot 1: 8 · 1 · 0.75 + 0 + 1
    assert write(memory, weights[:, heads], erase[:, heads], add[:, heads]).tolist() == [[[5.0], [7.0]]]
