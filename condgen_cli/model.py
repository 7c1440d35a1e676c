"""What a model is: ``SequenceModel`` and ``Predictor``, to derive from, and the memory that a decoder attends to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from condgen_cli.generation import Axis, Generation
from condgen_cli.item import Item

if TYPE_CHECKING:
    from condgen_cli.running.decoding import Hypothesis, Scorer

__all__ = [
    "Item",
    "Memory",
    "Model",
    "Predictor",
    "SequenceModel",
    "Step",
    "Tokens",
    "Vocabulary",
    "repeat_state",
    "same_kind",
    "select_state",
]


@dataclass(frozen=True)
class Memory:
    """What a decoder attends to: one row for each input.

    Args:
        values: (batch, positions, value_size), what is read.
        keys: (batch, positions, key_size), ``values`` projected once for the match function; None if it needs none.
        mask: (batch, positions), True where a position is real, False where it is padding; None if all are real.
        axes: for each row the axes that its positions lie on, in order; the product of their sizes is its number of real
            positions.
        auxiliary: further tensors by name, batch first, for a model's own decoder and scorers.
        vector: (batch, size), a summary of the input: the state of ``condgen_cli.nn.RecurrentDecoder`` starts from it; without
            attention the decoder reads nothing else of the input. None for decoders that need none.
    """

    values: Tensor
    keys: Tensor | None = None
    mask: Tensor | None = None
    axes: Sequence[tuple[Axis, ...]] = ()
    auxiliary: Mapping[str, Tensor] = field(default_factory=dict)
    vector: Tensor | None = None

    def __len__(self) -> int:
        return self.values.shape[0]

    def select(self, rows: Tensor) -> Memory:
        """The memory of some rows, by index (n,)."""
        indices = rows.tolist()
        return replace(
            self,
            values=self.values.index_select(0, rows),
            keys=None if self.keys is None else self.keys.index_select(0, rows),
            mask=None if self.mask is None else self.mask.index_select(0, rows),
            axes=[self.axes[row] for row in indices] if self.axes else (),
            auxiliary={name: tensor.index_select(0, rows) for name, tensor in self.auxiliary.items()},
            vector=None if self.vector is None else self.vector.index_select(0, rows),
        )


@dataclass(frozen=True)
class Step:
    """What one decoding step gives.

    Args:
        logits: (rows, vocabulary).
        state: the next state.
        attention: by name, (rows, positions) or (rows, heads, positions).
        extras: by name, (rows,): numbers worth showing, such as a gate; those of (rows, n) are for ``SequenceModel.finish``.
    """

    logits: Tensor
    state: Any
    attention: Mapping[str, Tensor] = field(default_factory=dict)
    extras: Mapping[str, Tensor] = field(default_factory=dict)


class Tokens(Protocol):
    """A finite set of tokens that can be listed."""

    def __len__(self) -> int: ...
    def token(self, index: int) -> str:
        """One token as shown beside its attention."""


class Vocabulary(Tokens, Protocol):
    """Output tokens and their ids."""

    pad: int
    bos: int
    eos: int
    unk: int

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without bos and eos."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; pad, bos, eos and unk are left out."""


class Model(nn.Module, ABC):
    """What the core asks of any model. Derive from ``SequenceModel`` or ``Predictor``.

    Attributes:
        vocabulary: the tokens that the model writes, as ``condgen inspect`` lists them; None if there are none.
        length: a method ``(item: Item) -> int`` of models whose batches should hold items of like length, so that little is
            padded: the number that items are sorted by. None: batches keep the order of the inputs.
    """

    vocabulary: Tokens | None = None
    length: ClassVar[Callable[..., int] | None] = None

    @abstractmethod
    def collate(self, items: Sequence[Item]) -> Any:
        """The items' conditions as CPU tensors, preprocessed as in training. Runs in threads beside the model.

        Raises:
            CondgenError: if a condition can't be read; the runner then collates the others without it.
        """

    def condition(self, item: Item) -> Any:
        """What attention is drawn on, for ``Generation.condition``; None if there is nothing but the axes' labels."""
        return None

    def example(self) -> Item | None:
        """A typical item, from which ``condgen inspect`` counts shapes and operations; None: it shows none."""
        return None

    def is_out_of_domain(self, item: Item, generation: Generation) -> bool:
        """Whether the item, or the best output for it, is plainly unlike the training data. The user is told once a run."""
        return False


class SequenceModel(Model):
    """A model that encodes an item into a memory and writes its output token by token. The core decodes it: greedily, by beam
    search, by sampling, or forced.

    A state is a named tuple of batch-first tensors, or None, or a nested such tuple. Whatever changes from step to step belongs
    to the state, never to the module.

    Decoder rows may be a multiple of the memory's rows, grouped by memory row: with m rows for each input, row ``i`` of the
    decoder reads row ``i // m`` of the memory. So neither beams nor several references copy the memory.

    Attributes:
        vocabulary: the output tokens.
        copies_unknown: whether the unknown token may be written; ``write`` then says what stands in its place.
        repeats: whether outputs may rightly repeat themselves, as pictures do; else the user is warned of repetitions.
    """

    vocabulary: Vocabulary
    copies_unknown: bool = False
    repeats: bool = False

    @abstractmethod
    def encode(self, batch: Any) -> Memory:
        """The memory of what ``collate`` returned."""

    @abstractmethod
    def start(self, memory: Memory, rows_per_item: int = 1) -> Any:
        """The state before the first token, with ``rows_per_item`` rows for each row of the memory."""

    @abstractmethod
    def step(self, token: Tensor, state: Any, memory: Memory) -> Step:
        """Read one token (rows,), ``bos`` first, and predict the next."""

    def forward(self, memory: Memory, targets: Tensor) -> Tensor:
        """Teacher-forced logits (rows, steps, vocabulary) for inputs ``targets`` (rows, steps), at least one step.

        Repeats ``step``. A model that can run all steps at once, which is faster, overrides it; the logits must be equal.
        """
        state, logits = self.start(memory, len(targets) // max(1, len(memory))), []
        for token in targets.unbind(1):
            step = self.step(token, state, memory)
            state = step.state
            logits.append(step.logits)
        return torch.stack(logits, 1)

    def targets(self, text: str) -> list[int]:
        """The tokens of a reference whose likelihood counts: its ids and the end token."""
        return [*self.vocabulary.encode(text), self.vocabulary.eos]

    def scorers(self) -> Mapping[str, Scorer]:
        """Further scorers of hypotheses, such as a language model, by the names that ``Decoding.weights`` gives them."""
        return {}

    def write(self, hypothesis: Hypothesis, item: Item) -> str:
        """The text of a hypothesis."""
        return self.vocabulary.decode(hypothesis.ids)

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The generation with what the model knows beside text and attention, such as ``details`` or ``warnings``."""
        return generation

    def unread(self, item: Item) -> Sequence[str]:
        """The parts of an input that the model has no token for; the user is told of those that the output lacks too."""
        return ()

    def doubt(self, item: Item) -> str:
        """Why no output for the item can be relied on (``Generation.doubt``); empty if nothing speaks against it."""
        return ""


class Predictor(Model):
    """A model that gives its answers at once, without tokens to decode, such as a classifier, and makes its attention maps."""

    @abstractmethod
    def predict(self, batch: Any) -> list[Generation]:
        """A generation for each item of what ``collate`` returned."""


def select_state(state: Any, rows: Tensor) -> Any:
    """The rows of a state at indices ``rows`` (n,), by one ``index_select`` for each tensor."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state.index_select(0, rows)
    return same_kind(state, [select_state(part, rows) for part in state])


def same_kind(value: Any, parts: list[Any]) -> Any:
    """A list, tuple or named tuple of the class of ``value`` with other parts."""
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def repeat_state(state: Any, times: int) -> Any:
    """Each row of a state ``times`` times in a row."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state.repeat_interleave(times, 0)
    rows = torch.arange(_rows(state)).repeat_interleave(times)
    return select_state(state, rows)


def _rows(state: Any) -> int:
    return state.shape[0] if isinstance(state, Tensor) else _rows(next(part for part in state if part is not None))
