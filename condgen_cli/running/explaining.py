"""Maps of what an output depends on, added to a generation: one for each method of ``Request.explain``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from condgen_cli.errors import UsageError
from condgen_cli.explain import IN_NATS
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.item import Item
from condgen_cli.model import Memory, Predictor, SequenceModel
from condgen_cli.running.devices import move

if TYPE_CHECKING:
    import torch

    from condgen_cli.explain.curves import Curves, Judge
    from condgen_cli.explain.removal import InputRemoval, MemoryRemoval, Removal

__all__ = ["Subject", "explain"]

Importances = NDArray[np.float64]

_HIDE_INPUT = "--explain input-occlusion"


@dataclass(frozen=True)
class Subject:
    """One input of a model.

    Args:
        model: the model, in evaluation mode.
        item: the input.
        device: device of the model.
        memory: the encoded input; None for a ``Predictor``.
        axes: axes of the memory's real positions.
    """

    model: SequenceModel | Predictor
    item: Item
    device: torch.device
    memory: Memory | None = None
    axes: tuple[Axis, ...] = ()

    def memory_removal(self, ids: list[int]) -> MemoryRemoval:
        """Removal of the memory's positions.

        Raises:
            UsageError: if there are no several positions.
        """
        from condgen_cli.explain.removal import MemoryRemoval

        if self.memory is None or not isinstance(self.model, SequenceModel):
            raise UsageError("the model has no memory of its own that could be occluded", _HIDE_INPUT)
        found = MemoryRemoval(self.model, self.memory, ids, self.axes)
        if not self.axes or found.count < 2:
            raise UsageError("the model's memory has no positions that could be told apart", _HIDE_INPUT)
        return found

    def input_removal(self, ids: list[int], tokens: tuple[str, ...]) -> InputRemoval:
        """Removal of parts of the input.

        Raises:
            UsageError: if the model has no parts of it to hide.
        """
        from condgen_cli.explain.removal import InputRemoval

        axes = self.model.parts(self.item)
        if not axes:
            raise UsageError("the model can't hide parts of its input", "--explain attention")
        return InputRemoval(self.model, self.item, axes, ids, tokens, partial(move, device=self.device))


def explain(
    subject: Subject,
    generation: Generation,
    ids: list[int],
    methods: tuple[str, ...],
    *,
    contrast: str | None = None,
    curves: bool = False,
    seed: int = 0,
) -> Generation:
    """The generation with a map for each method in place of its own, which stays as ``attention`` if that is one of them.

    A map holds, for each token, the shares of what speaks for it: importances below 0 count as 0, the rest sums to 1; a row of
    zeros means that nothing speaks for the token. ``extras`` has the largest importance of each token in nats by method.

    Args:
        subject: the model and the input.
        generation: the output, with the model's own maps.
        ids: the output's token ids, for a ``SequenceModel``.
        methods: names of ``condgen_cli.explain.METHODS``.
        contrast: another output; the maps then have two steps, what speaks for each output against the other.
        curves: whether ``Generation.curves`` is measured.
        seed: seed of random orders.
    Raises:
        UsageError: if a method doesn't apply to the model, or the contrast has a word that it can't write.
    """
    maps: dict[str, AttentionMap] = {}
    extras: dict[str, NDArray[np.float32]] = {}
    measured: dict[str, Curves] = {}
    judges: dict[type[Removal], Judge] = {}
    other = None if contrast is None else _contrast(subject.model, contrast)
    steps = Axis("token", "tokens", generation.tokens)
    for method in methods:
        if method == "attention" and not curves and other is None:
            if not generation.attention:
                raise UsageError("the model has no attention", _HIDE_INPUT)
            maps |= generation.attention
            continue
        removal, importance = _importance(subject, generation, ids, generation.tokens, method)
        if curves and generation.tokens:
            from condgen_cli.explain.curves import Judge

            kind = type(removal)
            judges[kind] = judges.get(kind) or Judge(removal, len(importance), seed)
            measured[method] = judges[kind].curves(importance)
        if other is not None:
            _, against = _importance(subject, generation, *other, method)
            difference = importance.sum(0) - against.sum(0)
            outputs = Axis("output", "tokens", (str(generation.output), str(contrast)))
            maps[method] = _map(np.stack([difference, -difference]), outputs, removal.axes)
        elif method == "attention":
            maps |= generation.attention
        else:
            maps[method] = _map(importance, steps, removal.axes)
            if method in IN_NATS and importance.size:
                extras[method] = importance.max(1).astype(np.float32)
    return replace(generation, attention=maps, extras={**generation.extras, **extras}, curves=measured)


def _contrast(model: SequenceModel | Predictor, text: str) -> tuple[list[int], tuple[str, ...]]:
    """Token ids and texts of another output."""
    if isinstance(model, Predictor):
        return [], tuple(text.split())
    ids = model.targets(text)
    return ids, tuple(model.vocabulary.token(index) for index in ids)


def _importance(
    subject: Subject, generation: Generation, ids: list[int], tokens: tuple[str, ...], method: str
) -> tuple[Removal, Importances]:
    """What the method removes, and its importances (tokens, positions) of the output ``ids``."""
    from condgen_cli.explain import gradient
    from condgen_cli.explain.occlusion import occlude

    if method == "input-occlusion":
        parts = subject.input_removal(ids, tokens)
        return parts, occlude(parts)
    if method == "attention":
        if tokens is not generation.tokens:
            raise UsageError("attention speaks for no output against another", "--explain occlusion")
        return _attention(subject, generation, ids)
    removal = subject.memory_removal(ids)
    compute: Mapping[str, Any] = {
        "occlusion": occlude,
        "gradient": gradient.gradient_times_value,
        "gradient-norm": gradient.gradient_norm,
        "integrated-gradients": gradient.integrate_gradients,
    }
    return removal, compute[method](removal)


def _attention(subject: Subject, generation: Generation, ids: list[int]) -> tuple[Removal, Importances]:
    """The model's own weights over the memory, or for a ``Predictor`` over the parts of the input, as importances; several
    heads or hops are averaged."""
    if not generation.attention:
        raise UsageError("the model has no attention", _HIDE_INPUT)
    removal: Removal
    if isinstance(subject.model, Predictor):
        removal = subject.input_removal(ids, generation.tokens)
    else:
        removal = subject.memory_removal(ids)
    for map in generation.attention.values():
        if [len(axis) for axis in map.positions] == [len(axis) for axis in removal.axes]:
            hops = map.steps.kind == "hops"
            weights = map.distributions().astype(np.float64).mean(1)
            if hops:
                weights = np.repeat(weights.mean(0, keepdims=True), len(generation.tokens), 0)
            if len(weights) == len(generation.tokens):
                return removal, weights
    raise UsageError("the model's attention is over something other than what can be removed", _HIDE_INPUT)


def _map(importance: Importances, steps: Axis, axes: tuple[Axis, ...]) -> AttentionMap:
    positive = np.maximum(importance, 0.0)
    total = positive.sum(1, keepdims=True)
    shares = np.divide(positive, total, out=np.zeros_like(positive), where=total > 0)
    return AttentionMap(shares.reshape([len(axis) for axis in (steps, *axes)]).astype(np.float32), (steps, *axes))
