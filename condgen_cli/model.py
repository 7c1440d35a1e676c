"""The contract of a model: a condition is encoded into a memory, and a decoder reads the memory step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from condgen_cli.generation import Axis
from condgen_cli.item import Item

__all__ = ["Item", "Memory", "Model", "Step", "Vocabulary", "repeat_state", "select_state"]


@dataclass(frozen=True)
class Memory:
    """What a decoder attends to: one row for each input.

    Args:
        values: (batch, positions, value_size).
        keys: (batch, positions, key_size): ``values`` projected once for the match function; None if it needs none.
        mask: (batch, positions), True where a position is real; None if all are.
        axes: for each row the axes that its positions lie on, in order; their sizes multiply to its real positions.
        auxiliary: further tensors that start or feed the decoder, batch first, such as a pooled vector.
    """

    values: Tensor
    keys: Tensor | None = None
    mask: Tensor | None = None
    axes: Sequence[tuple[Axis, ...]] = ()
    auxiliary: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.values.shape[0]

    def select(self, rows: Tensor) -> Memory:
        """The memory of some rows, by index."""
        chosen = rows.tolist()
        return replace(
            self,
            values=self.values.index_select(0, rows),
            keys=None if self.keys is None else self.keys.index_select(0, rows),
            mask=None if self.mask is None else self.mask.index_select(0, rows),
            axes=[self.axes[row] for row in chosen] if self.axes else (),
            auxiliary={name: tensor.index_select(0, rows) for name, tensor in self.auxiliary.items()},
        )


@dataclass(frozen=True)
class Step:
    """What one decoding step gives.

    Args:
        logits: (rows, vocabulary).
        state: the next state.
        attention: by name, (rows, positions) or (rows, heads, positions).
        extras: by name, (rows,): numbers worth showing, such as a gate; those of (rows, n) are for the model's ``finished``.
    """

    logits: Tensor
    state: Any
    attention: Mapping[str, Tensor] = field(default_factory=dict)
    extras: Mapping[str, Tensor] = field(default_factory=dict)


class Vocabulary(Protocol):
    """Output tokens and their ids."""

    pad: int
    bos: int
    eos: int
    unk: int

    def __len__(self) -> int: ...
    def encode(self, text: str) -> list[int]:
        """Ids of a text, without bos and eos."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, specials left out."""

    def token(self, index: int) -> str:
        """One token as shown beside its attention."""


class Model(Protocol):
    """A sequence model. A state is a named tuple of batch-first tensors (or None, or a nested such tuple).

    Decoder rows may be a multiple of the memory's rows, grouped by memory row: with m rows for each input, row ``i`` of the
    decoder reads row ``i // m`` of the memory. So neither beams nor several references copy the memory.

    Optional: ``length(item) -> int``, by which the runner sorts items into batches; ``unread(item)``, the parts of an input
    that it has no token for, of which the user is told if they aren't in the output either; ``copies_unknown = True`` if the
    model may write the unknown token, and then ``write(hypothesis, item) -> str``, the text with something in its place;
    ``finished(generation, hypothesis, item) -> Generation``, an output with what the model tells of it besides, such as its
    details or warnings; ``doubt(item) -> str``, why an output for the item can't be relied on (``Generation.doubt``);
    ``strange(item, generation) -> bool``, whether the item is plainly unlike what the model was trained on, by itself or by the
    best output for it, of which the user is told once;
    ``repeats = True`` if its outputs may rightly repeat themselves, as pictures do: of those of other models the user is told;
    ``scorers()``, further judges of its hypotheses (``condgen_cli.decoding.Scorer``) by the names of ``Decoding.weights``.
    """

    @property
    def vocabulary(self) -> Vocabulary: ...

    def collate(self, items: Sequence[Item]) -> Any:
        """CPU tensors of the items' conditions: the front end, with the settings that the model was trained with."""

    def encode(self, batch: Any) -> Memory: ...
    def start(self, memory: Memory, rows_per_item: int = 1) -> Any:
        """The state before the first token."""

    def step(self, token: Tensor, state: Any, memory: Memory) -> Step:
        """Read one token (rows,) and predict the next."""

    def forward(self, memory: Memory, targets: Tensor) -> Tensor:
        """Teacher-forced logits (rows, steps, vocabulary) for inputs ``targets`` (rows, steps); equal to repeated ``step``."""

    def condition(self, item: Item) -> Any:
        """What attention is drawn on, for ``Generation.condition``."""


def select_state(state: Any, rows: Tensor) -> Any:
    """A state with its rows chosen by index, as one ``index_select`` for each tensor."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state.index_select(0, rows)
    chosen = [select_state(part, rows) for part in state]
    return type(state)(*chosen) if hasattr(state, "_fields") else type(state)(chosen)


def repeat_state(state: Any, times: int) -> Any:
    """Each row ``times`` times in a row."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state.repeat_interleave(times, 0)
    rows = torch.arange(_rows(state)).repeat_interleave(times)
    return select_state(state, rows)


def _rows(state: Any) -> int:
    return state.shape[0] if isinstance(state, Tensor) else _rows(next(part for part in state if part is not None))
