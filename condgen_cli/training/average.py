"""Averages of weights over a training run, which often generalise better than the latest weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["Average", "ExponentialAverage", "LastAverage", "Latest", "make_average", "swap_weights"]


class Average(Protocol):
    """Averages a model's floating-point tensors, buffers included, during training; frozen parameters are left out."""

    def after_step(self, model: nn.Module, step: int) -> None: ...
    def before_evaluation(self, model: nn.Module, step: int) -> None: ...
    def weights(self) -> dict[str, Tensor]:
        """The averaged tensors by name, without those that aren't averaged."""

    def state(self) -> dict[str, Tensor]:
        """The tensors that ``restore`` needs, by name."""

    def restore(self, state: Mapping[str, Tensor]) -> None: ...


class Latest:
    """No average: the latest weights are used."""

    def after_step(self, model: nn.Module, step: int) -> None:
        pass

    def before_evaluation(self, model: nn.Module, step: int) -> None:
        pass

    def weights(self) -> dict[str, Tensor]:
        return {}

    def state(self) -> dict[str, Tensor]:
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        pass


class ExponentialAverage:
    """Exponential moving average ``a ← d·a + (1−d)·w`` after each step, where d is ``min(decay, (1+step)/(10+step))``.

    Args:
        decay: upper limit of d, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        if not self.average:
            self.average = _copy(model)
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in _floating(model).items():
            self.average[name].lerp_(tensor, 1 - decay)

    def before_evaluation(self, model: nn.Module, step: int) -> None:
        pass

    def weights(self) -> dict[str, Tensor]:
        return self.average

    def state(self) -> dict[str, Tensor]:
        return self.average

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.average = dict(state)


class LastAverage:
    """The mean of the weights at the last evaluations.

    Args:
        count: number of evaluations.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.snapshots: dict[int, dict[str, Tensor]] = {}

    def after_step(self, model: nn.Module, step: int) -> None:
        pass

    def before_evaluation(self, model: nn.Module, step: int) -> None:
        # Keyed by step, so that an interrupted evaluation that is repeated counts once.
        self.snapshots[step] = _copy(model)
        for old in sorted(self.snapshots)[: -self.count]:
            del self.snapshots[old]

    def weights(self) -> dict[str, Tensor]:
        snapshots = [self.snapshots[step] for step in sorted(self.snapshots)]
        return {name: torch.stack([snapshot[name] for snapshot in snapshots]).mean(0) for name in snapshots[0]}

    def state(self) -> dict[str, Tensor]:
        return {f"{step}:{name}": tensor for step, weights in self.snapshots.items() for name, tensor in weights.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.snapshots = {}
        for key, tensor in state.items():
            step, _, name = key.partition(":")
            self.snapshots.setdefault(int(step), {})[name] = tensor


def make_average(kind: str, decay: float) -> Average:
    """The average that a recipe names.

    Args:
        kind: ``none``, ``ema`` or ``last-N``.
        decay: decay of ``ema``.
    """
    if kind == "none":
        return Latest()
    if kind == "ema":
        return ExponentialAverage(decay)
    return LastAverage(int(kind.removeprefix("last-")))


@contextmanager
def swap_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Give the model these weights within the block; its own are restored unchanged afterwards."""
    own = {name: tensor.clone() for name, tensor in model.state_dict().items() if name in weights}
    model.load_state_dict(weights, strict=False)
    try:
        yield
    finally:
        model.load_state_dict(own, strict=False)


def _floating(model: nn.Module) -> dict[str, Tensor]:
    """The floating-point tensors that training changes. A frozen encoder is often most of a model; its average is itself."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point() and name not in frozen}


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in _floating(model).items()}
