"""The machine: the order of writing and reading, and the gradient that is written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from condgen_ntm.machine import CONSTANT, Machine


def machine(**changes: Any) -> Machine:
    options: dict[str, Any] = {
        "recurrent": True,
        "read_heads": 1,
        "write_heads": 1,
        "slots": 9,
        "slot_size": 4,
        "addressing": "full",
        "shifts": 1,
        "learned_memory": False,
    }
    torch.manual_seed(0)
    made = Machine(5, 7, **{**options, **changes}).double()
    for parameter in made.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    return made


@pytest.mark.parametrize("recurrent", [True, False])
@pytest.mark.parametrize(
    "changes",
    [{}, {"read_heads": 2, "write_heads": 3, "shifts": 2, "learned_memory": True}, {"shifts": 0, "learned_memory": True}],
)
def test_the_fused_sequence_and_its_gradient_are_those_of_single_operations(recurrent: bool, changes: dict[str, Any]) -> None:
    made = machine(recurrent=recurrent, **changes)
    inputs = torch.randn(6, 3, 5, dtype=torch.double, requires_grad=True)
    weight = torch.randn(6, 3, made.size, dtype=torch.double)
    variables = [inputs, *(parameter for parameter in made.parameters() if parameter.requires_grad)]

    def gradients(outputs: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((outputs * weight).sum(), variables)

    fused, stepwise = made(inputs)[0], made(inputs, record=True)[0]
    torch.testing.assert_close(fused, stepwise)
    for one, other in zip(gradients(fused), gradients(stepwise), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_a_step_reads_what_it_has_written() -> None:
    made = machine()
    outputs, recorded = made(torch.randn(4, 2, 5, dtype=torch.double), record=True)
    assert recorded is not None
    before = torch.full((2, 9, 4), CONSTANT, dtype=torch.double)
    for step in range(4):
        reading, writing = recorded.weights[step, :, 0], recorded.weights[step, :, 1]
        erase, add = recorded.erase[step, :, 0], recorded.add[step, :, 0]
        kept = before * (1 - writing[:, :, None] * erase[:, None])
        after = kept + writing[:, :, None] * add[:, None]
        torch.testing.assert_close(recorded.contents[step], after)
        torch.testing.assert_close(outputs[step, :, 7:], (reading[:, :, None] * after).sum(1))
        before = after


def test_weightings_are_distributions_and_rows_do_not_mix() -> None:
    made = machine(read_heads=2)
    inputs = torch.randn(5, 3, 5, dtype=torch.double)
    outputs, recorded = made(inputs, record=True)
    assert recorded is not None
    torch.testing.assert_close(recorded.weights.sum(-1), torch.ones(5, 3, 3, dtype=torch.double))
    torch.testing.assert_close(made(inputs[:, 1:2])[0], outputs[:, 1:2])


def test_simple_addressing_trains_too() -> None:
    made = machine(addressing="simple", learned_memory=True)
    made(torch.randn(4, 2, 5, dtype=torch.double))[0].sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
