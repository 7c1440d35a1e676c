"""A continuing dialogue with a model: each turn is read once, and replies are streamed word by word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from condgen_chat.filter import mask_listed
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.model import Memory, SequenceModel, Step
from condgen_cli.running.decoding import Decoding, Scorer, decode
from condgen_cli.running.randomness import item_key
from condgen_cli.running.runner import Runner

__all__ = ["Conversation"]


class Conversation:
    """The turns so far and the model's memory of them.

    A model that ``continues`` reads only new turns, with ``extend``; any other reads its bounded context again.

    Args:
        runner: runner of a dialogue model.
        decoding: decoding options of replies.
        seed: seed of sampling. A reply equals that of ``condgen chat --once`` for the same turns; when the same turns come
            again, as after ``undo``, another reply is drawn.
    """

    def __init__(self, runner: Runner, decoding: Decoding, seed: int = 0) -> None:
        self.runner = runner
        self.decoding = decoding
        self.seed = seed
        self._replied: Counter[tuple[str, ...]] = Counter()
        self.turns: list[str] = []
        self._memory: Memory | None = None
        self._read = 0

    @property
    def streams(self) -> bool:
        """Whether a reply can be streamed, which needs a search with one hypothesis."""
        decoding = self.decoding
        return decoding.method == "greedy" or (decoding.beam if decoding.method == "beam" else decoding.nbest) == 1

    def reply(self, turn: str, emit: Callable[[str], None] = lambda text: None) -> str:
        """Reply to a turn. If this is interrupted, the turn is taken back.

        Args:
            turn: the user's turn.
            emit: called with each piece of the reply, whole words with the space before them.
        """
        self.turns.append(turn)
        try:
            reply = self._write_reply(_StreamingModel(self.runner.model, emit) if self.streams else None)
        except BaseException:
            self.turns.pop()
            self._forget()
            raise
        if not self.streams:
            emit(reply)
        self.turns.append(reply)
        return reply

    def item(self) -> Item:
        """The user's last turn and the turns before it as an item; empty without a turn."""
        turns = self.turns[: len(self.turns) - 1 + len(self.turns) % 2]
        return Item("conversation", tuple(turns), source="conversation")

    def explain(self) -> Generation | None:
        """The last reply with its attention; None if there is no reply."""
        return self.runner(self.item(), force=self.turns[-1]) if self.turns else None

    def undo(self) -> bool:
        """Take back the last turn and its reply; False if there is none."""
        taken = bool(self.turns)
        del self.turns[-2:]
        self._forget()
        return taken

    def reset(self) -> None:
        """Start a new dialogue."""
        self.turns.clear()
        self._forget()

    def _forget(self) -> None:
        self._memory, self._read = None, 0

    @torch.inference_mode()
    def _write_reply(self, streaming: _StreamingModel | None) -> str:
        model = self.runner.model
        continuing = self._memory is not None and model.continues
        new = self.turns[self._read :] if continuing else self.turns
        batch = model.collate([Item("conversation", tuple(new))])
        self._memory = model.extend(self._memory, batch) if continuing else model.encode(batch)
        self._read = len(self.turns)
        ((best, *_),) = decode(model if streaming is None else streaming, self._memory, self.decoding, [self._key()])
        text = mask_listed(model.vocabulary.decode(best.ids))
        if streaming is not None:
            streaming.emit_rest(text)
        return text

    def _key(self) -> int:
        """Key of the reply's random stream."""
        turns = tuple(self.turns)
        self._replied[turns] += 1
        return item_key(self.seed, Item("conversation", turns), self._replied[turns] - 1)


class _StreamingModel(SequenceModel):
    """A model that emits the words of its only hypothesis as decoding goes on: each step reads the previous token."""

    def __init__(self, model: SequenceModel, emit: Callable[[str], None]) -> None:
        super().__init__()
        self.model = model
        self.vocabulary = model.vocabulary
        self.copies_unknown = model.copies_unknown
        self._emit = emit
        self._ids: list[int] = []
        self._emitted = 0

    def collate(self, items: Sequence[Item]) -> Any:
        return self.model.collate(items)

    def encode(self, batch: Any) -> Memory:
        return self.model.encode(batch)

    def start(self, memory: Memory, rows_per_item: int = 1) -> Any:
        return self.model.start(memory, rows_per_item)

    def step(self, token: torch.Tensor, state: Any, memory: Memory) -> Step:
        if int(token[0]) != self.vocabulary.bos:
            self._ids.append(int(token[0]))
            text = mask_listed(self.vocabulary.decode(self._ids))
            self._emit_until(text, text.rfind(" "))  # the last word may go on
        return self.model.step(token, state, memory)

    def scorers(self) -> Mapping[str, Scorer]:
        return self.model.scorers()

    def emit_rest(self, text: str) -> None:
        self._emit_until(text, len(text))

    def _emit_until(self, text: str, end: int) -> None:
        if end > self._emitted:
            self._emit(text[self._emitted : end])
            self._emitted = end
