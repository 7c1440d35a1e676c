"""What the core asks of a model, whatever computes it: torch (``condgen_cli.model``) or ONNX Runtime
(``condgen_cli.running.backends.onnx``). Nothing here imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from condgen_cli.arrays import Array, arrays_of, select_rows
from condgen_cli.generation import Axis, Generation
from condgen_cli.item import Item

if TYPE_CHECKING:
    from condgen_cli.running.decoding import Hypothesis, Scorer

__all__ = [
    "Contract",
    "Item",
    "Memory",
    "PredictorContract",
    "SequenceContract",
    "Step",
    "Tokens",
    "Vocabulary",
]


@dataclass(frozen=True)
class Memory:
    """The encoded inputs that a decoder attends to, one row each, as torch tensors or NumPy arrays.

    Args:
        values: (batch, positions, value_size), the vectors that attention averages.
        keys: (batch, positions, key_size), the keys of the match function, computed once from ``values``; None if there are
            none.
        mask: (batch, positions), True for real positions, False for padding; None if all are real.
        axes: the axes of each row's positions, in order; the product of their sizes is the row's number of real positions.
        auxiliary: further arrays by name, batch first, for the model's own decoder and scorers.
        vector: (batch, size), a summary of the input, from which ``condgen_cli.nn.RecurrentDecoder`` computes its initial
            state; without attention it is all that the decoder sees of the input. None for decoders that need none.
    """

    values: Array
    keys: Array | None = None
    mask: Array | None = None
    axes: Sequence[tuple[Axis, ...]] = ()
    auxiliary: Mapping[str, Array] = field(default_factory=dict)
    vector: Array | None = None

    def __len__(self) -> int:
        return self.values.shape[0]

    def select(self, rows: Array) -> Memory:
        """The memory of some rows, by index (n,)."""
        indices = rows.tolist()
        return replace(
            self,
            values=select_rows(self.values, rows),
            keys=select_rows(self.keys, rows),
            mask=select_rows(self.mask, rows),
            axes=[self.axes[row] for row in indices] if self.axes else (),
            auxiliary={name: select_rows(array, rows) for name, array in self.auxiliary.items()},
            vector=select_rows(self.vector, rows),
        )


@dataclass(frozen=True)
class Step:
    """The result of one decoding step.

    Args:
        logits: (rows, vocabulary), unnormalised scores of the next token.
        state: the next state.
        attention: attention weights by name, (rows, positions) or (rows, heads, positions).
        extras: by name, (rows,): numbers to show, such as a gate; those of shape (rows, n) are only passed to
            ``finish`` of the model.
    """

    logits: Array
    state: Any
    attention: Mapping[str, Array] = field(default_factory=dict)
    extras: Mapping[str, Array] = field(default_factory=dict)


class Tokens(Protocol):
    """A finite list of tokens."""

    def __len__(self) -> int: ...
    def token(self, index: int) -> str:
        """The token as text, for display."""


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


class Contract(ABC):
    """The interface of all models, however they are computed. Models in torch derive from ``SequenceModel`` or ``Predictor`` of
    ``condgen_cli.model``.

    Attributes:
        vocabulary: the output tokens, which ``condgen inspect`` lists; None if there are none.
        length: optional method ``(item: Item) -> int``, the length by which items are sorted into batches to save padding.
            None: batches keep the order of the inputs.
        longest: the longest part of an input that the model reads at once, in the unit of its task's reader, such as seconds of
            sound; the reader cuts longer inputs there. None: the reader's own limit.
    """

    vocabulary: Tokens | None = None
    length: ClassVar[Callable[..., int] | None] = None
    longest: ClassVar[float | None] = None

    @abstractmethod
    def collate(self, items: Sequence[Item]) -> Any:
        """The items' conditions as a batch of arrays on the CPU, preprocessed as in training. Runs in threads beside the model.

        Raises:
            CondgenError: if a condition can't be read; the runner then collates the other items without it.
        """

    def condition(self, item: Item) -> Any:
        """The background that attention is drawn on, for ``Generation.condition``; None: only the labels of the axes are
        drawn."""
        return None

    def example(self) -> Item | None:
        """A typical item, which ``condgen inspect`` runs to report shapes and operations; None: it reports none."""
        return None

    def examples(self) -> Sequence[Item]:
        """At least two items that differ in all sizes that inputs may differ in, the largest first, on which graphs for ONNX
        Runtime are traced; by default ``example()`` twice, for models whose inputs all have one size."""
        example = self.example()
        return () if example is None else (example, example)

    def is_out_of_domain(self, item: Item, generation: Generation) -> bool:
        """Whether the item, or the best output for it, is clearly unlike the training data. The user is warned once in a
        run."""
        return False

    def parts(self, item: Item) -> tuple[Axis, ...]:
        """The axes of the parts of the input that ``occlude`` can hide: cells of a photo, words, seconds of sound, sentences.
        Empty: none can be hidden."""
        return ()

    def occlude(self, item: Item, hidden: NDArray[np.bool_]) -> list[Item]:
        """Copies of an item with parts of its input hidden, to see how the output depends on them.

        Args:
            item: the item.
            hidden: (copies, parts), True for the parts to hide, the axes of ``parts`` flattened in order.
        """
        raise TypeError(f"{type(self).__name__} has parts of inputs, but no method occlude")


class SequenceContract(Contract):
    """The interface of a model that encodes an item into a memory and generates its output token by token. The core does the
    decoding: greedy, beam search, sampling, or forced decoding.

    A state is None or a (nested) named tuple of batch-first arrays. All that changes from step to step must be in the state,
    never in the module.

    The decoder may have several rows for each row of the memory, grouped: with m rows for each input, row ``i`` of the decoder
    reads row ``i // m`` of the memory. So the memory is not copied for beams or several references.

    Attributes:
        vocabulary: the output tokens.
        copies_unknown: whether unknown tokens may be generated; ``write`` then replaces them.
        repeats: whether repetitive outputs are normal, as for pictures; otherwise the user is warned of them.
    """

    vocabulary: Vocabulary
    copies_unknown: bool = False
    repeats: bool = False

    @abstractmethod
    def encode(self, batch: Any) -> Memory:
        """The memory of what ``collate`` returned."""

    @abstractmethod
    def start(self, memory: Memory, rows_per_item: int = 1) -> Any:
        """The initial state, with ``rows_per_item`` rows for each row of the memory."""

    @abstractmethod
    def step(self, token: Array, state: Any, memory: Memory) -> Step:
        """Read one token (rows,), initially ``bos``, and predict the next."""

    def forward(self, memory: Memory, targets: Array) -> Array:
        """Logits (rows, steps, vocabulary) by teacher forcing, for input tokens ``targets`` (rows, steps) of at least one step.

        By default it repeats ``step``. Override it if all steps can be computed at once; the logits must be equal.
        """
        state, logits = self.start(memory, len(targets) // max(1, len(memory))), []
        for position in range(targets.shape[1]):
            step = self.step(targets[:, position], state, memory)
            state = step.state
            logits.append(step.logits[:, None])
        return arrays_of(memory.values).concatenate(logits, 1)

    def targets(self, text: str) -> list[int]:
        """The ids of a reference's tokens whose likelihood is measured: by default those of its text and the end token."""
        return [*self.vocabulary.encode(text), self.vocabulary.eos]

    def scorers(self) -> Mapping[str, Scorer]:
        """Further scorers of hypotheses, such as a language model, by the names that ``Decoding.weights`` uses."""
        return {}

    def write(self, hypothesis: Hypothesis, item: Item) -> str:
        """The text of a hypothesis."""
        return self.vocabulary.decode(hypothesis.ids)

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The generation with further results of the model added, such as ``details`` or ``warnings``."""
        return generation

    def unread(self, item: Item) -> Sequence[str]:
        """The parts of an input that the model has no token for. The user is warned of those that the output doesn't
        contain."""
        return ()

    def refresh(self, memory: Memory) -> Memory:
        """A memory whose values and keys were changed, with auxiliary arrays that are computed from the values computed again;
        by default there are none."""
        return memory

    def doubt(self, item: Item) -> str:
        """Why outputs for the item are unreliable (``Generation.doubt``); empty: no reason known."""
        return ""


class PredictorContract(Contract):
    """The interface of a model without token-by-token decoding, such as a classifier. It makes its attention maps itself."""

    @abstractmethod
    def predict(self, batch: Any) -> list[Generation]:
        """A generation for each item of what ``collate`` returned."""

    def score(self, batch: Any, outputs: Sequence[Sequence[str]]) -> list[NDArray[np.float32]]:
        """Natural log-probabilities (tokens,) of an output for each item of the batch, given as ``Generation.tokens``; needed
        where ``parts`` are given.

        Raises:
            UsageError: if the model can't write one.
        """
        raise TypeError(f"{type(self).__name__} has parts of inputs, but no method score")
