"""A bigram model of words beside a speller of subwords, with look-ahead within words (Hori et al. 2018).

A recurrent network over subwords needs much text to learn the words, which counts give at once. A subword is scored by the
share of the bigram probability that continues with it: that of all words with this beginning.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from condgen_cli.data.subwords import BLANK, SubwordVocabulary
from condgen_cli.errors import IntegrityError, UsageError
from condgen_cli.files import write_atomically
from condgen_cli.model import Memory
from condgen_transcribe.pronunciation import PHONES, Pronunciation

__all__ = ["Lexicon", "WordModel", "WordScorer", "WordState"]

DISCOUNT = 0.75
MOST = 2**16 - 1
"""Largest number of words of a lexicon: their numbers have 16 bits."""
STEPS = 20.0
"""Quantisation steps per nat of stored log-probabilities: 255 steps are 12.75 nats."""
UNKNOWN = math.log(0.01)
"""Log-probability of a word outside the lexicon."""
LETTER = math.log(0.05)
"""Log-probability of each letter of such a word."""
LEFT = 1e-3
"""Smallest probability reserved after each word for unseen bigrams: stored shares are rounded, and may add up to 1 or
more."""
OUTSIDE, START = 0, 1
"""Nodes: within a word outside the lexicon; before the first word."""
NODES = 20_000
"""Largest number of word beginnings cached from one search to the next."""


_DIGITS = [character for character in map(chr, range(ord("0"), 0x1000)) if character.isprintable() and character != "\\"]
"""Codes of letters' sounds in a file; the most frequent sounds have one byte."""


class Lexicon:
    """Words in the order of their UTF-8 bytes, so that words with a common beginning are adjacent.

    Args:
        words: words in any order, possibly repeated.
        sounds: for each word in sorted order the phones of each letter, as of ``LetterToSound``; empty if unknown.
    Raises:
        UsageError: for more words than 16 bits can count.
    """

    def __init__(self, words: Iterable[str], sounds: Iterable[Sequence[Pronunciation]] = ()) -> None:
        self.words = sorted(set(words))
        self.sounds = list(sounds)
        if len(self.words) > MOST:
            raise UsageError(f"a lexicon of {len(self.words)} words is too large", f"{MOST} at most")

    def with_sounds(self, pronounce: Callable[[str], Sequence[Pronunciation]]) -> Lexicon:
        """The same words with their pronunciations."""
        return Lexicon(self.words, map(pronounce, self.words))

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def load(cls, path: Path) -> Lexicon:
        """Read what ``save`` wrote.

        Raises:
            IntegrityError: if the file isn't one.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            words = document["words"].split(" ")
            said = document.get("said", "")
            sounds = dict(zip(_DIGITS, (tuple(sound.split()) for sound in document.get("sounds", ())), strict=False))
            letters = iter([sounds[digit] for digit in said])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise IntegrityError(f"{path} is not a lexicon: {error}") from None
        if words != sorted(set(words)):
            raise IntegrityError(f"{path} is not a lexicon: its words must be sorted and different")
        if said and (len(said) != sum(map(len, words)) or not set(chain.from_iterable(sounds.values())) <= set(PHONES)):
            raise IntegrityError(f"{path} is not a lexicon: each letter of its words needs its phones")
        return cls(words, [[next(letters) for _ in word] for word in words] if said else ())

    def save(self, path: Path) -> None:
        """Write JSON: ``words``, separated by spaces; and with pronunciations ``sounds``, the different sounds of letters as
        phones separated by spaces, and ``said``, a character for each letter of each word that encodes its sound."""
        document: dict[str, str | list[str]] = {"words": " ".join(self.words)}
        if self.sounds:
            counts = Counter(chain.from_iterable(self.sounds))
            sounds = sorted(counts, key=lambda sound: (-counts[sound], sound))
            digits = dict(zip(sounds, _DIGITS, strict=False))
            document["sounds"] = [" ".join(sound) for sound in sounds]
            document["said"] = "".join(digits[sound] for word in self.sounds for sound in word)
        write_atomically(path, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())


class WordModel(nn.Module):
    """Interpolated Kneser-Ney bigrams (Chen and Goodman 1999, eq. 23) without rare ones: p(w | h) = s(h, w) + λ(h) · p(w).

    A history h is a word's number, ``words`` for the beginning of a text, or ``words + 1`` for an unknown word. A successor w
    is a word's number, or ``words`` for the end.

    Args:
        words: number of words in the lexicon.
        bigrams: number of stored bigrams.
    """

    unigram: Tensor
    """(words + 1,) log p(w)."""
    first: Tensor
    """(words + 2,) index of each history's first bigram, with the beginning of a text as last history, and their number."""
    second: Tensor
    """(bigrams, 2) successors, ascending for each history, as high and low byte."""
    share: Tensor
    """(bigrams,) rounded -20 · log s."""

    def __init__(self, words: int, bigrams: int) -> None:
        super().__init__()
        self.words = words
        self.register_buffer("unigram", torch.zeros(words + 1))
        self.register_buffer("first", torch.zeros(words + 2, dtype=torch.int32))
        self.register_buffer("second", torch.zeros(bigrams, 2, dtype=torch.uint8))
        self.register_buffer("share", torch.zeros(bigrams, dtype=torch.uint8))

    def successors(self) -> Tensor:
        """(bigrams,) numbers of the successors."""
        return 256 * self.second[:, 0].long() + self.second[:, 1].long()

    @classmethod
    def count(cls, texts: Iterable[str], word_count: int, bigram_count: int) -> tuple[WordModel, Lexicon]:
        """Count words and bigrams.

        Args:
            texts: sentences of words separated by spaces.
            word_count, bigram_count: minimum counts.
        Raises:
            UsageError: if no word is frequent enough, or too many are.
        """
        sentences = [text.split() for text in texts]
        counts = Counter(word for sentence in sentences for word in sentence)
        lexicon = Lexicon(word for word, count in counts.items() if count >= word_count)
        if not len(lexicon):
            raise UsageError("no word reaches the lexicon's minimum count")
        numbers = {word: number for number, word in enumerate(lexicon.words)}
        edge = len(lexicon)
        pairs: Counter[tuple[int, int]] = Counter()
        for sentence in sentences:
            known = [edge, *(numbers.get(word, -1) for word in sentence), edge]
            pairs.update(pairwise(known))
        found = [(history, word, count) for (history, word), count in pairs.items() if history >= 0 and word >= 0]
        table = np.array(sorted(found), dtype=np.int64).reshape(-1, 3)
        # Kneser-Ney: a unigram's probability is proportional to the number of different words that it follows
        company = np.maximum(np.bincount(table[:, 1], minlength=edge + 1), DISCOUNT)
        totals = np.bincount(table[:, 0], table[:, 2], minlength=edge + 1)
        table = table[table[:, 2] >= bigram_count]
        model = cls(edge, len(table))
        model.unigram.copy_(torch.from_numpy(np.log(company / company.sum())))
        model.first[1:] = torch.from_numpy(np.bincount(table[:, 0], minlength=edge + 1).cumsum())
        model.second.copy_(torch.from_numpy(np.stack(np.divmod(table[:, 1], 256), 1)))
        shares = (table[:, 2] - DISCOUNT) / totals[table[:, 0]]
        model.share.copy_(torch.from_numpy(np.rint(-STEPS * np.log(shares)).clip(0, 255)))
        return model, lexicon


class WordState(NamedTuple):
    """State of a hypothesis, (rows,) each: the node of the written part of its last word, and the history before that word."""

    node: Tensor
    history: Tensor


class _Node(NamedTuple):
    """The beginning of a word. Words with this beginning are those from ``low`` to ``high``, of which the first is the
    beginning itself if ``whole``; with one more token they are those from ``lows`` to ``highs``, (vocabulary,) each."""

    text: str
    low: int
    high: int
    whole: bool
    lows: Tensor
    highs: Tensor


class _Here(NamedTuple):
    """Facts of each row's node, (rows,) each: range of words, whether it is a word, and the history if the word ends here."""

    low: Tensor
    high: Tensor
    whole: Tensor
    after: Tensor


class WordScorer:
    """Scores subwords by words; implements ``condgen_cli.running.decoding.Scorer`` and doesn't read the memory.

    A token's score is log p(words that continue the text with the token) / p(words that continue the text). A word outside the
    lexicon costs ``UNKNOWN``, plus ``LETTER`` for each letter.

    Args:
        model: bigram model with its final numbers.
        lexicon: words of the model.
        vocabulary: vocabulary of the tokens; a word begins with ``▁``.
    """

    def __init__(self, model: WordModel, lexicon: Lexicon, vocabulary: SubwordVocabulary) -> None:
        self.bos, self.eos = vocabulary.bos, vocabulary.eos
        self.edge = len(lexicon)
        self.texts = vocabulary.tokens
        self.bytes = np.array([word.encode() for word in lexicon.words])
        device = model.unigram.device
        shares = (model.share.double() / -STEPS).exp()
        self.bigrams = _cumulate(shares)
        self.unigrams = _cumulate(model.unigram.double().exp())
        first = model.first.long()
        histories = torch.arange(self.edge + 1, device=device).repeat_interleave(first.diff())
        self.pairs = histories * (self.edge + 1) + model.successors()
        kept = self.bigrams[first[1:]] - self.bigrams[first[:-1]]
        self.left = torch.cat([(1 - kept).clamp(min=LEFT), kept.new_ones(1)])
        # the end token ends a word, as a beginning does
        self.begins = torch.tensor([text.startswith(BLANK) for text in self.texts], device=device)
        self.begins[self.eos] = True
        self.spelled = LETTER * torch.tensor([len(text.removeprefix(BLANK)) for text in self.texts], device=device).double()
        self.spelled[self.eos] = 0.0
        self._reset_nodes()

    def start(self, memory: Memory, rows_per_item: int = 1) -> WordState:
        """The state before the first word."""
        if len(self.nodes) > NODES:
            self._reset_nodes()
        rows = len(memory) * rows_per_item
        node = torch.full((rows,), START, device=memory.values.device)
        return WordState(node, torch.full_like(node, self.edge))

    def score(self, token: Tensor, state: WordState, memory: Memory) -> tuple[Tensor, WordState]:
        """Scores (rows, vocabulary) of the token after ``token`` (rows,), and the state after ``token``."""
        if int(token[0]) != self.bos:
            state = self._extend(token, state)
        here = self._here(state)
        written = self._mass(state.history, here.low, here.high).log()
        ended = self._mass(state.history, here.low, here.low + 1).log() - written
        # a word outside the lexicon was charged at its beginning
        outside = here.low == here.high
        ended = torch.where(here.whole, ended, torch.where(outside, 0.0, UNKNOWN)).unsqueeze(1)
        after = torch.where(self.begins, here.after.unsqueeze(1), state.history.unsqueeze(1))
        nodes = [self.nodes[number] for number in state.node.tolist()]
        lows, highs = (torch.stack(parts) for parts in zip(*((node.lows, node.highs) for node in nodes), strict=True))
        ahead = self._mass(after, lows, highs).log()
        within = torch.where(self.begins, ended, -written.unsqueeze(1)) + ahead
        fee = torch.where(self.begins, ended + UNKNOWN, torch.where(outside, 0.0, UNKNOWN).unsqueeze(1))
        return torch.where(ahead.isfinite(), within, fee + self.spelled).float(), state

    def _extend(self, token: Tensor, state: WordState) -> WordState:
        """The state after one more token."""
        pairs = zip(token.tolist(), state.node.tolist(), strict=True)
        node = torch.tensor([self._node(self.texts[number], before) for number, before in pairs], device=token.device)
        return WordState(node, torch.where(self.begins[token], self._here(state).after, state.history))

    def _here(self, state: WordState) -> _Here:
        nodes = [self.nodes[number] for number in state.node.tolist()]
        facts = torch.tensor([(node.low, node.high, node.whole) for node in nodes], device=state.node.device)
        low, high, whole = facts[:, 0], facts[:, 1], facts[:, 2].bool()
        after = torch.where(whole, low, self.edge + 1)
        return _Here(low, high, whole, torch.where(state.node == START, state.history, after))

    def _mass(self, history: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Probability of the words from ``low`` to ``high`` given ``history``; tensors of one shape."""
        ends = torch.stack([low, high])
        places = torch.searchsorted(self.pairs, history * (self.edge + 1) + ends)
        bigrams, unigrams = (self.bigrams[places], self.unigrams[ends])
        return bigrams[1] - bigrams[0] + self.left[history] * (unigrams[1] - unigrams[0])

    def _node(self, token: str, before: int) -> int:
        """The node after a token."""
        if token.startswith(BLANK):
            text = token.removeprefix(BLANK)
        elif before in (OUTSIDE, START):
            return OUTSIDE
        else:
            text = self.nodes[before].text + token
        number = self.numbers.get(text)
        if number is None:
            node = self._make_node(text)
            number = OUTSIDE if node.low == node.high else len(self.nodes)
            self.numbers[text] = number
            if number != OUTSIDE:
                self.nodes.append(node)
        return number

    def _make_node(self, text: str) -> _Node:
        low, high = self._range([text])
        following = [token.removeprefix(BLANK) if token.startswith(BLANK) else text + token for token in self.texts]
        lows, highs = self._range(following)
        whole = low[0] < high[0] and self.bytes[low[0]] == text.encode()
        return self._with_ends(_Node(text, int(low[0]), int(high[0]), bool(whole), *map(torch.from_numpy, (lows, highs))))

    def _range(self, beginnings: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ranges of the words with each beginning."""
        keys = [beginning.encode() for beginning in beginnings]
        return np.searchsorted(self.bytes, keys), np.searchsorted(self.bytes, [key + b"\xff" for key in keys])

    def _with_ends(self, node: _Node) -> _Node:
        node.lows[self.eos], node.highs[self.eos] = self.edge, self.edge + 1
        device = self.begins.device
        return node._replace(lows=node.lows.to(device), highs=node.highs.to(device))

    def _reset_nodes(self) -> None:
        """Reset the cache to the two special nodes, from which only a new word leads into the lexicon."""
        start = self._make_node("")
        begins = self.begins
        lows, highs = start.lows * begins, start.highs * begins
        nowhere = _Node("", 0, 0, False, lows, highs)
        self.nodes: list[_Node] = [nowhere, nowhere]
        self.numbers: dict[str, int] = {}


def _cumulate(values: Tensor) -> Tensor:
    """Sums of the first 0, 1, 2, … values."""
    return torch.cat([values.new_zeros(1), values.cumsum(0)])
