"""Dialogue models: an encoder of the last turns or of the whole dialogue, and a recurrent decoder that writes the reply.

* ``hierarchical``: RNN 1 encodes each turn, RNN 2 runs over the codes of the turns (Sordoni et al. 2015; Serban et al. 2016);
* ``last-turn``: RNN 1 encodes the last turn alone (Vinyals and Le 2015);
* ``joined``: RNN 1 encodes the last few turns as one text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from condgen_chat.attention import TurnWordAttention, append_turn, turn_weights
from condgen_chat.blandness import REPLIES, AntiLanguageModel
from condgen_chat.cache import Entries, entries_of, find_last_real, join_entries, make_cache_map, with_entries
from condgen_chat.config import ChatConfig
from condgen_chat.dialogues import Dialogues, make_batch, make_labels, shorten, turns_of
from condgen_chat.filter import mask_listed
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.errors import UsageError
from condgen_cli.generation import Axis, Generation
from condgen_cli.model import Item, Memory
from condgen_cli.nn import (
    CACHE,
    Attention,
    DecoderModel,
    Dropout,
    RecurrentDecoder,
    make_attention,
    make_recurrent,
    match_function,
    run,
)
from condgen_cli.nn.recurrent import RecurrentState
from condgen_cli.running.decoding import Hypothesis, Scorer
from condgen_cli.running.signs import unread_doubt
from condgen_cli.training import check

__all__ = ["VOCABULARY_FILE", "ChatModel", "build"]

VOCABULARY_FILE = "vocabulary.json"
CHUNK = 256
"""Turns decoded at once for the cache."""
GROUPS, FULL = 4, 32
"""Largest number of groups of similar length in which RNN 1 reads a batch's texts, and the texts per group that are enough."""


class ChatModel(DecoderModel):
    """Reads a dialogue and writes the reply to its last turn.

    Args:
        config: options.
        vocabulary: subwords of the turns and the reply.
    Raises:
        UsageError: if the config contradicts itself.
    """

    vocabulary: SubwordVocabulary

    def __init__(self, config: ChatConfig, vocabulary: SubwordVocabulary) -> None:
        super().__init__()
        if config.attention == "turns" and not config.hierarchical:
            raise UsageError('attention = "turns" needs encoder = "hierarchical"')
        if config.cache and not config.hierarchical:
            raise UsageError('a cache needs encoder = "hierarchical"')
        self.config = config
        self.vocabulary = vocabulary
        directions = 2 if config.bidirectional else 1
        code = directions * config.encoder_size
        kind = nn.LSTM if config.cell == "lstm" else nn.GRU
        self.turn_rnn = kind(config.embedding_size, config.encoder_size, batch_first=True, bidirectional=config.bidirectional)
        self.dialogue_rnn = make_recurrent("gru", code, config.dialogue_size) if config.hierarchical else None
        vector = config.dialogue_size if config.hierarchical else code
        sizes = (config.hidden_size, {"none": vector, "turns": vector, "words": code}[config.attention])
        attention: Attention | None = None
        if config.attention == "words" and config.hierarchical:
            word = match_function(config.match, *sizes, config.match_size)
            turn = match_function(config.match, config.hidden_size, vector, config.match_size)
            attention = TurnWordAttention(word, turn, config.hidden_size, config.turns)
        elif config.attention != "none":
            attention = make_attention(config.match, *sizes, config.match_size)
        self.decoder = RecurrentDecoder(
            len(vocabulary),
            config.embedding_size,
            config.hidden_size,
            sizes[1],
            attention,
            dropout=config.dropout,
            attend="after",
            cell=config.cell,
            vector_size=vector,
            cache=config.cache > 0,
        )
        self.dropout = Dropout(config.dropout)

    @property
    def continues(self) -> bool:
        """Whether ``extend`` can add turns to a memory."""
        return self.dialogue_rnn is not None

    def example(self) -> Item:
        """An example item, for inspecting the architecture."""
        return Item("example", ("hello", "hi", "how are you?"))

    def condition(self, item: Item) -> str:
        """The turns, one per line."""
        return "\n".join(turns_of(item.condition))

    def length(self, item: Item) -> int:
        """Characters of the turns read, by which batches are sorted."""
        return sum(map(len, self._turns(item)))

    def collate(self, items: Sequence[Item]) -> Dialogues:
        """A batch of the turns read of each item."""
        dialogues = [self._turns(item) for item in items]
        ids: list[list[list[int]]] = []
        shown: list[list[tuple[str, ...]]] = []
        for turns in dialogues:
            pieces = [self.vocabulary.pieces(turn)[-self.config.max_tokens :] for turn in turns]
            ids.append([[piece.id for piece in turn] for turn in pieces])
            shown.append([tuple(piece.text for piece in turn) for turn in pieces])
        batch = self.batch(ids, [[len(turns)] for turns in dialogues])
        end = self.vocabulary.token(self.vocabulary.eos)
        return batch._replace(labels=make_labels(dialogues, shown, end, self.config.hierarchical))

    def parts(self, item: Item) -> tuple[Axis, ...]:
        """The words of the turns that are read; none if there is but one."""
        words = [word for turn in self._turns(item) for word in turn.split()]
        return (Axis("word", "tokens", tuple(words)),) if len(words) > 1 else ()

    def occlude(self, item: Item, hidden: NDArray[np.bool_]) -> list[Item]:
        """Copies of the dialogue without the hidden words."""
        turns = [turn.split() for turn in self._turns(item)]
        ends = np.cumsum([len(turn) for turn in turns])[:-1]
        kept = [
            tuple(
                " ".join(word for word, gone in zip(turn, part, strict=True) if not gone)
                for turn, part in zip(turns, np.split(row, ends), strict=True)
            )
            for row in hidden
        ]
        return [replace(item, condition=one) for one in kept]

    def batch(self, dialogues: Sequence[Sequence[Sequence[int]]], read: Sequence[Sequence[int]]) -> Dialogues:
        """``make_batch`` with the model's options."""
        return make_batch(dialogues, read, self.config, self.vocabulary)

    def encode(self, batch: Dialogues) -> Memory:
        """A memory with a row for each of ``batch.rows``: the context vector after the turns read, and attended positions."""
        words, codes = self._read(batch)
        states = codes[batch.texts.to(codes.device)]
        if self.dialogue_rnn is not None:
            states, _ = run(self.dialogue_rnn, states, batch.counts.clamp(min=1))
        memory = self._memory(batch, words, states)
        return with_entries(memory, self._entries(batch, words, states)) if self.config.cache else memory

    def extend(self, memory: Memory, batch: Dialogues) -> Memory:
        """The memory after further turns, of which only these are read.

        Args:
            memory: memory of the dialogues so far.
            batch: the new turns alone: at least one, and the same number in each row.
        Raises:
            UsageError: unless the encoder is hierarchical, since there is no state to continue from without RNN 2.
        """
        if self.dialogue_rnn is None:
            raise UsageError(f'encoder = "{self.config.encoder}" has no state to continue from')
        words, codes = self._read(batch)
        rows = torch.arange(len(memory))
        for text in batch.texts.unbind(1):
            turn = batch._replace(
                texts=text.unsqueeze(1),
                counts=torch.ones_like(batch.counts),
                rows=torch.stack([rows, torch.ones_like(rows)], 1),
            )
            memory = self._extend_by_turn(memory, turn, words, codes)
        return memory

    def _extend_by_turn(self, memory: Memory, turn: Dialogues, words: Tensor, codes: Tensor) -> Memory:
        """The memory after one further turn of each dialogue, given RNN 1's outputs."""
        assert self.dialogue_rnn is not None
        assert memory.vector is not None
        texts = turn.texts.to(codes.device)
        states, _ = run(self.dialogue_rnn, codes[texts], turn.counts, RecurrentState(memory.vector))
        new = self._memory(turn, words, states)
        if new.keys is not None:
            new = append_turn(memory, new, self.config.turns if self.config.attention == "words" else 0, self._slots())
        if self.config.cache:
            keys, lengths = self._force_texts(memory, turn, texts[:, 0])
            mask = torch.arange(keys.shape[1], device=keys.device) < lengths.unsqueeze(1)
            fresh = Entries(keys, turn.tokens.to(keys.device)[texts[:, 0]], mask)
            new = with_entries(new, join_entries([entries_of(memory), fresh], self.config.cache))
        return new

    def scorers(self) -> Mapping[str, Scorer]:
        """``mmi``: a scorer against replies that fit any dialogue."""
        return {REPLIES: AntiLanguageModel(self, self.forget)}

    def forget(self, memory: Memory, rows: Tensor | None = None) -> Memory:
        """The memory without its context in the rows (rows,) that are True; None: in all rows."""
        chosen = torch.ones(len(memory), dtype=torch.bool, device=memory.values.device) if rows is None else rows
        assert memory.vector is not None
        vector = memory.vector.masked_fill(chosen.unsqueeze(1), 0.0)
        if self.decoder.attention is None:
            memory = replace(memory, values=vector.unsqueeze(1))
        else:
            assert memory.mask is not None
            memory = replace(memory, mask=memory.mask & ~chosen.unsqueeze(1))
        auxiliary = dict(memory.auxiliary)
        if self.config.cache:
            auxiliary[CACHE.mask] = auxiliary[CACHE.mask] & ~chosen.unsqueeze(1)
        return replace(memory, auxiliary=auxiliary, vector=vector)

    def unread(self, item: Item) -> tuple[str, ...]:
        """Characters of the last turn that the vocabulary lacks."""
        (*_, last) = ("", *turns_of(item.condition))
        return tuple(piece.text for piece in self.vocabulary.pieces(last) if piece.id == self.vocabulary.unk)

    def doubt(self, item: Item) -> str:
        """A note that the reply is a guess if the last turn is mostly unknown characters, else empty."""
        (*_, last) = ("", *turns_of(item.condition))
        return unread_doubt(*self.vocabulary.unread(last))

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The reply with listed words masked (``condgen_chat.filter``), and a warning if the turn was too long to be read.

        With attention over words of several turns, the map ``turns`` has the sum for each turn; the map ``cache`` has the
        cache's share for each word.
        """
        attention = dict(generation.attention)
        if isinstance(self.decoder.attention, TurnWordAttention):
            end = self.vocabulary.token(self.vocabulary.eos)
            attention["turns"] = turn_weights(attention["attention"], end, shorten)
        if "cache_shares" in hypothesis.extras:
            steps = Axis("token", "tokens", generation.tokens)
            attention |= make_cache_map(hypothesis.extras["cache_shares"], steps, self._words(item))
        return replace(generation, output=mask_listed(generation.output), attention=attention, warnings=self.warnings(item))

    def warnings(self, item: Item) -> tuple[str, ...]:
        """A warning if the last turn is too long to be read whole."""
        (*_, last) = ("", *turns_of(item.condition))
        limit = self.config.max_tokens
        return (f"only the last {limit} tokens of the turn are read",) if len(self.vocabulary.encode(last)) > limit else ()

    def _words(self, item: Item) -> list[str]:
        """The tokens of the turns that are read, with an end token after each turn."""
        end = self.vocabulary.token(self.vocabulary.eos)
        pieces = [self.vocabulary.pieces(turn)[-self.config.max_tokens :] for turn in self._turns(item)]
        return [text for turn in pieces for text in (*(piece.text for piece in turn), end)]

    def _turns(self, item: Item) -> tuple[str, ...]:
        """The turns that are read."""
        return turns_of(item.condition)[-self.config.read_turns :]

    def _slots(self) -> int:
        """Number of texts kept for attention."""
        return {"none": 0, "turns": self.config.history, "words": self.config.attended_turns}[self.config.attention]

    def _read(self, batch: Dialogues) -> tuple[Tensor, Tensor]:
        """RNN 1: states of each text's words (texts, positions, size) and its code (texts, size)."""
        tokens = batch.tokens.to(self.decoder.bias.device)
        order = batch.lengths.argsort()
        attended = self.config.attention == "words"
        places, outputs, codes = [], [], []
        for group in order.tensor_split(min(GROUPS, -(-len(order) // FULL))):
            lengths = batch.lengths[group]
            group = group.to(tokens.device)
            longest = int(lengths.max())
            found, code = run(self.turn_rnn, self.decoder.embed(tokens[group, :longest]), lengths)
            places.append(group)
            outputs.append(F.pad(found, (0, 0, 0, tokens.shape[1] - longest)) if attended else found[:, :0])
            codes.append(code)
        back = torch.cat(places).argsort()
        return self.dropout(torch.cat(outputs)[back]), self.dropout(torch.cat(codes)[back])

    def _memory(self, batch: Dialogues, words: Tensor, states: Tensor) -> Memory:
        """Rows of the memory.

        Args:
            batch: the dialogues.
            words: (texts, positions, size) states of each text's words.
            states: (dialogues, longest, size) states after each text.
        """
        dialogue, count = batch.rows.to(states.device).unbind(1)
        vector = self.dropout(F.pad(states, (0, 0, 1, 0))[dialogue, count])
        attention = self.decoder.attention
        if attention is None:
            return Memory(vector.unsqueeze(1), vector=vector)
        slots = self.config.turns if isinstance(attention, TurnWordAttention) else min(self._slots(), states.shape[1])
        places = count.unsqueeze(1) - slots + torch.arange(slots, device=states.device)
        real, places = places >= 0, places.clamp(min=0)
        rows = dialogue.unsqueeze(1)
        after = states[rows, places]  # (rows, slots, size)
        if self.config.attention == "turns":
            values = self.dropout(after)
            axes = batch.axes("turn", "sentences", self._slots())
            return Memory(values, attention.keys(values), real, axes, vector=vector)
        texts = batch.texts.to(states.device)[rows, places]
        lengths = batch.lengths.to(states.device)[texts]
        mask = (torch.arange(words.shape[1], device=states.device) < lengths.unsqueeze(2)) & real.unsqueeze(2)
        keys = attention.keys(words)[texts]  # projected before it is copied
        if isinstance(attention, TurnWordAttention):
            keys = attention.join_keys(keys, after)
        values = words[texts].flatten(1, 2)
        axes = batch.axes("word", "tokens", self._slots())
        return Memory(values, keys.flatten(1, 2), mask.flatten(1), axes, vector=vector)

    @torch.no_grad()
    def _entries(self, batch: Dialogues, words: Tensor, states: Tensor) -> Entries:
        """Cache entries of each row of the memory, from the turns before; arguments as for ``_memory``."""
        device, length = states.device, batch.tokens.shape[1]
        dialogue, count = batch.rows.to(device).unbind(1)
        history = min(self.config.history, max(1, int(count.max())))
        places = count.unsqueeze(1) - history + torch.arange(history, device=device)
        texts = batch.texts.to(device)[dialogue.unsqueeze(1), places.clamp(min=0)]
        positions = torch.arange(length, device=device)
        mask = (positions < batch.lengths.to(device)[texts].unsqueeze(2)) & (places >= 0).unsqueeze(2)
        # indices of positions and texts are sorted out before the large tensors are copied
        found = (texts.unsqueeze(2) * length + positions).flatten(1)
        order = find_last_real(mask.flatten(1), self.config.cache)
        found, mask = found.gather(1, order), mask.flatten(1).gather(1, order)
        features = self._features(batch, words, states).flatten(0, 1)
        return Entries(features[found], batch.tokens.to(device).flatten()[found], mask)

    def _features(self, batch: Dialogues, words: Tensor, states: Tensor) -> Tensor:
        """The decoder's output vectors (texts, positions, size) for each turn, given the turns before it."""
        owner = [(dialogue, place) for dialogue, count in enumerate(batch.counts.tolist()) for place in range(count)]
        before = torch.tensor(owner or [(0, 0)])
        features = []
        for texts in torch.split(torch.arange(len(before), device=states.device), CHUNK):
            rows = batch._replace(rows=before[texts.cpu()], labels=((), ()))
            features.append(self._force_texts(self._memory(rows, words, states), batch, texts)[0])
        return torch.cat(features)

    def _force_texts(self, memory: Memory, batch: Dialogues, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher-forced output vectors (n, positions, size) and lengths (n,) of texts (n,), one for each row of the memory."""
        tokens = batch.tokens.to(texts.device)[texts]
        lengths = batch.lengths[texts.cpu()]
        inputs = F.pad(tokens[:, :-1], (1, 0), value=self.vocabulary.bos)
        forced = self.decoder(memory, inputs, lengths)
        features = forced.features.new_zeros(tokens.numel(), forced.features.shape[1])
        return features.index_copy(0, forced.kept, forced.features).view(*tokens.shape, -1), lengths.to(texts.device)


def build(config: Mapping[str, Any], files: Mapping[str, Path]) -> ChatModel:
    """The model of a manifest entry or a run, without its weights.

    Raises:
        UsageError: for unknown or impossible options.
    """
    parsed = check(ChatConfig, config, source="dialogue model")
    return ChatModel(parsed, SubwordVocabulary.load(files[VOCABULARY_FILE]))
