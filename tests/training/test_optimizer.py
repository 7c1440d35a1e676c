"""Optimisers of a recipe."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from condgen_cli.training.optimizer import make_optimizer, optimizer_tensors, restore_optimizer
from condgen_cli.training.recipe import Training


def stepped(optimizer: torch.optim.Optimizer, weight: nn.Parameter, gradients: list[float]) -> list[float]:
    values = []
    for gradient in gradients:
        weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        values.append(weight.item())
    return values


def test_rmsprop_divides_by_the_root_mean_square_and_has_momentum() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    settings = Training(optimizer="rmsprop", lr=0.1, momentum=0.5, metric="loss")
    optimizer = make_optimizer(settings, model)
    found = stepped(optimizer, model.weight, [2.0, -1.0])
    square = 0.05 * 4
    velocity = 2 / square**0.5
    first = -0.1 * velocity
    square = 0.95 * square + 0.05 * 1
    velocity = 0.5 * velocity - 1 / square**0.5
    assert found == pytest.approx([first, first - 0.1 * velocity], rel=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd", "rmsprop"])
def test_a_restored_optimizer_goes_on_as_the_first(name: str) -> None:
    settings = Training.model_validate({"optimizer": name, "lr": 0.1, "metric": "loss"})
    one, other = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    first, second = make_optimizer(settings, one), make_optimizer(settings, other)
    stepped(first, one.weight, [1.0, 3.0])
    other.load_state_dict(one.state_dict())
    restore_optimizer(second, {key: tensor.clone() for key, tensor in optimizer_tensors(first).items()})
    assert stepped(first, one.weight, [-2.0, 0.5]) == stepped(second, other.weight, [-2.0, 0.5])
