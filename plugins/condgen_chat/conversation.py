"""A dialogue with a model that goes on: each turn is read once, and the words of a reply come as they are written."""

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
    """The turns so far, and what the model has made of them.

    A model that ``continues`` reads each new turn with ``extend``; another reads its context again, which is bounded.

    Args:
        runner: a model of the task ``chat``.
        decoding: how replies are written.
        seed: for sampling. A reply is drawn as ``condgen chat --once`` draws it for the same turns. Where the same turns come
            again, as after ``undo``, another one is.
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
        """Whether a reply can be told while it is written: where there is one hypothesis at a time."""
        decoding = self.decoding
        return decoding.method == "greedy" or (decoding.beam if decoding.method == "beam" else decoding.nbest) == 1

    def reply(self, turn: str, emit: Callable[[str], None] = lambda text: None) -> str:
        """The reply to a turn. If this is interrupted, the turn has been taken back.

        Args:
            turn: of the user.
            tell: is given the reply piece by piece, each some whole words with the blank before them.
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
        """The last turn of the user with what came before it; without a turn an empty one."""
        turns = self.turns[: len(self.turns) - 1 + len(self.turns) % 2]
        return Item("conversation", tuple(turns), source="conversation")

    def explain(self) -> Generation | None:
        """The last reply with what the model looked at; None before there is one."""
        return self.runner(self.item(), force=self.turns[-1]) if self.turns else None

    def undo(self) -> bool:
        """Take back the last turn and its reply; False if there is none."""
        taken = bool(self.turns)
        del self.turns[-2:]
        self._forget()
        return taken

    def reset(self) -> None:
        """Begin anew."""
        self.turns.clear()
        self._forget()

    def _forget(self) -> None:
        self._memory, self._read = None, 0

    @torch.inference_mode()
    def _write_reply(self, streaming: _StreamingModel | None) -> str:
        model = self.runner.model
        going_on = self._memory is not None and model.continues
        new = self.turns[self._read :] if going_on else self.turns
        batch = model.collate([Item("conversation", tuple(new))])
        self._memory = model.extend(self._memory, batch) if going_on else model.encode(batch)
        self._read = len(self.turns)
        ((best, *_),) = decode(model if streaming is None else streaming, self._memory, self.decoding, [self._key()])
        text = mask_listed(model.vocabulary.decode(best.ids))
        if streaming is not None:
            streaming.emit_rest(text)
        return text

    def _key(self) -> int:
        """Of the reply's random numbers."""
        turns = tuple(self.turns)
        self._replied[turns] += 1
        return item_key(self.seed, Item("conversation", turns), self._replied[turns] - 1)


class _StreamingModel(SequenceModel):
    """The model, which tells the words of its only hypothesis as they are chosen: a step reads the token before it."""

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
