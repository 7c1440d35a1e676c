"""The optimizer of a recipe, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from condgen_cli.errors import UsageError
from condgen_cli.training.recipe import Training

__all__ = ["make_optimizer", "optimizer_tensors", "restore_optimizer", "set_learning_rate"]

DECAY = 0.95
"""Decay of RMSprop's mean of squared gradients (Graves 2013, section 4.2)."""


def make_optimizer(training: Training, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW, SGD or RMSprop over the trainable parameters, with one group for each multiplier of the learning rate. Parameters
    with a multiplier of 0 are frozen.

    Raises:
        UsageError: if no parameter's name starts with a prefix in ``lr_multipliers``.
    """
    groups = _groups(training.lr_multipliers, model)
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=training.lr, momentum=training.momentum, weight_decay=training.weight_decay, fused=True
        )
    if training.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            groups, lr=training.lr, alpha=DECAY, momentum=training.momentum, weight_decay=training.weight_decay
        )
    return torch.optim.AdamW(groups, lr=training.lr, betas=training.betas, weight_decay=training.weight_decay, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of each group: ``lr`` times its multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["multiplier"]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as ``{"parameter name:key": tensor}``; the settings of the groups come from the recipe."""
    names = _names(optimizer)
    return {
        f"{names[index]}:{key}": value
        for index, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that ``optimizer_tensors`` returned.

    Raises:
        KeyError: if the state belongs to other parameters.
    """
    index = {name: index for index, name in enumerate(_names(optimizer))}
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, slot = key.rpartition(":")
        state.setdefault(index[name], {})[slot] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _groups(multipliers: Mapping[str, float], model: nn.Module) -> list[dict[str, Any]]:
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups: dict[str, dict[str, Any]] = {}
    seen = set()
    for name, parameter in named:
        prefix = max((prefix for prefix in multipliers if name.startswith(prefix)), key=len, default="")
        seen.add(prefix)
        if multipliers.get(prefix) == 0:
            parameter.requires_grad_(False)
            continue
        group = groups.setdefault(prefix, {"params": [], "names": [], "multiplier": multipliers.get(prefix, 1.0)})
        group["params"].append(parameter)
        group["names"].append(name)
    for prefix in multipliers:
        if prefix not in seen:
            known = sorted({name.split(".")[0] for name, _ in named})
            raise UsageError(f"training.lr_multipliers: no parameter starts with {prefix!r}", f"known: {', '.join(known)}")
    if not groups:
        raise UsageError("the model has no parameters to train")
    return list(groups.values())


def _names(optimizer: torch.optim.Optimizer) -> list[str]:
    return [name for group in optimizer.param_groups for name in group["names"]]
