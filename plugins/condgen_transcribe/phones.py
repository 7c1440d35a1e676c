"""A scorer of hypotheses by their pronunciation: the listener's CTC output of phones, read through a lexicon.

8 hours of speech don't teach English spelling, but a pronouncing dictionary has it. So the listener also predicts phones, and a
hypothesis is scored by the phones of its words.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from condgen_cli.data.subwords import BLANK as EDGE
from condgen_cli.data.subwords import SubwordVocabulary
from condgen_cli.model import Memory
from condgen_transcribe.ctc import BLANK, NEVER, PrefixState, empty_prefix, extend_prefix
from condgen_transcribe.pronunciation import number_phones
from condgen_transcribe.words import Lexicon

__all__ = ["PhoneScorer", "PhoneState"]

OPTIONS = 6
"""Largest number of pronunciations of a word's beginning that are scored in parallel."""
SURE = 0.95
"""Share of the words with a beginning whose pronunciations suffice."""
NODES = 20_000
"""Largest number of word beginnings cached from one search to the next."""

PhoneNumbers = tuple[int, ...]


class PhoneState(NamedTuple):
    """State of a hypothesis.

    Args:
        node: (rows,) node of the written part of its last word.
        before: CTC state of the phones before that word.
        options: (rows, options, …) CTC states with each pronunciation of that part, first as a whole word if it is one.
    """

    node: Tensor
    before: PrefixState
    options: PrefixState


class _Node(NamedTuple):
    """The beginning of a word and its pronunciations, first that as a whole word if it is one."""

    text: str
    options: tuple[PhoneNumbers, ...]


class PhoneScorer:
    """Scores subwords by phones; implements ``condgen_cli.running.decoding.Scorer``.

    A token's score is log p(outputs that begin with hypothesis and token) / p(outputs that begin with the hypothesis), for the
    phones in ``memory.auxiliary["phones"]``, (batch, positions, 1 + phones) log-probabilities. An unfinished word has its most
    probable pronunciation. Since there are too many tokens to score each after every hypothesis, a token's own phones are
    counted one step later. A word outside the lexicon is spelled letter by letter.

    Args:
        lexicon: words with their pronunciations.
        shares: (words,) probability of each word.
        vocabulary: vocabulary of the tokens; a word begins with ``▁``.
    """

    def __init__(self, lexicon: Lexicon, shares: Tensor, vocabulary: SubwordVocabulary) -> None:
        self.words = lexicon.words
        self.sounds = [[number_phones(sound) for sound in word] for word in lexicon.sounds]
        self.shares: list[float] = shares.tolist()
        self.letters = _find_usual_sounds(self.words, self.sounds)
        self.bos, self.eos = vocabulary.bos, vocabulary.eos
        self.texts = vocabulary.tokens
        self.begins = torch.tensor([text.startswith(EDGE) for text in self.texts], device=shares.device)
        self._reset_nodes()

    def start(self, memory: Memory, rows_per_item: int = 1) -> PhoneState:
        """The state before the first word."""
        if len(self.nodes) > NODES:
            self._reset_nodes()
        empty = empty_prefix(memory.auxiliary["phones"], rows_per_item)
        only = PrefixState(*(part.unsqueeze(1).repeat_interleave(OPTIONS, 1) for part in empty))
        return PhoneState(torch.zeros_like(empty.last), empty, only)

    def score(self, token: Tensor, state: PhoneState, memory: Memory) -> tuple[Tensor, PhoneState]:
        """Scores (rows, vocabulary) of the token after ``token`` (rows,), and the state after ``token``."""
        counted = torch.zeros_like(state.before.prefix)
        if int(token[0]) != self.bos:
            counted = torch.where(self.begins[token], state.options.prefix[:, 0], state.options.prefix.amax(1))
            state = self._extend(token, state, memory.auxiliary["phones"].double())
        ended, going = state.options.prefix[:, 0] - counted, state.options.prefix.amax(1) - counted
        scores = torch.where(self.begins, ended.unsqueeze(1), going.unsqueeze(1))
        whole = torch.logaddexp(state.options.blank[:, 0, -1], state.options.label[:, 0, -1])
        scores[:, self.eos] = whole - counted
        return scores.float(), state

    def _extend(self, token: Tensor, state: PhoneState, log_probs: Tensor) -> PhoneState:
        """The state after one more token."""
        device = token.device
        begins = self.begins[token]
        was = [self.nodes[number] for number in state.node.tolist()]
        numbers = [self._node(self.texts[index], last.text) for index, last in zip(token.tolist(), was, strict=True)]
        before = PrefixState(
            *(
                torch.where(_broadcast(begins, old), word[:, 0], old)
                for word, old in zip(state.options, state.before, strict=True)
            )
        )
        plan = _Plan()
        for row, (number, last, first) in enumerate(zip(numbers, was, begins.tolist(), strict=True)):
            plan.add(row, self.nodes[number].options, () if first else last.options)
        origin, item = torch.tensor(plan.origins, device=device), torch.tensor(plan.rows, device=device)
        said = [torch.cat([word, old.unsqueeze(1)], 1) for word, old in zip(state.options, before, strict=True)]
        found = PrefixState(*(part.flatten(0, 1).index_select(0, origin) for part in said))
        found = _say(plan.left, found, log_probs, item // (len(token) // len(log_probs)))
        # rows with fewer options are filled up with impossible ones
        places = torch.tensor(plan.places, device=device)
        options = []
        for part in found:
            empty = NEVER if part.is_floating_point() else BLANK
            all = torch.full((len(token) * OPTIONS, *part.shape[1:]), empty, dtype=part.dtype, device=device)
            options.append(all.index_copy(0, places, part).view(len(token), OPTIONS, *part.shape[1:]))
        return PhoneState(torch.tensor(numbers, device=device), before, PrefixState(*options))

    def _node(self, token: str, before: str) -> int:
        """The node after a token."""
        text = token.removeprefix(EDGE) if token.startswith(EDGE) else before + token
        number = self.numbers.get(text)
        if number is None:
            number = self.numbers[text] = len(self.nodes)
            self.nodes.append(self._make_node(text))
        return number

    def _make_node(self, text: str) -> _Node:
        words = range(bisect_left(self.words, text), bisect_left(self.words, text + chr(0x10FFFF)))
        if not words:
            return _Node(text, (tuple(chain.from_iterable(self.letters.get(letter, ()) for letter in text)),))
        shares: defaultdict[PhoneNumbers, float] = defaultdict(float)
        for word in words:
            shares[_beginning(self.sounds[word], len(text))] += self.shares[word]
        found, total, covered = [], sum(shares.values()), 0.0
        if self.words[words[0]] == text:
            found.append(tuple(chain.from_iterable(self.sounds[words[0]])))
        for said in sorted(shares, key=shares.__getitem__, reverse=True):
            if said not in found[:1]:
                found.append(said)
            covered += shares[said]
            if len(found) == OPTIONS or covered > SURE * total:
                break
        return _Node(text, tuple(found))

    def _reset_nodes(self) -> None:
        """Reset the cache to the empty beginning."""
        self.nodes = [_Node("", ((),))]
        self.numbers = {"": 0}


def _beginning(sounds: Sequence[PhoneNumbers], letters: int) -> PhoneNumbers:
    """Phones of a word's first letters; if the last letter is silent, like the t of th, those up to the next that isn't."""
    while letters < len(sounds) and not sounds[letters - 1]:
        letters += 1
    return tuple(chain.from_iterable(sounds[:letters]))


class _Plan:
    """Which phones extend which states, for all options of all rows; lists with an entry for each option."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        """Row of the option."""
        self.places: list[int] = []
        """Index of the option among those of all rows."""
        self.origins: list[int] = []
        """Index of the state that is extended: an option of the row, or, as its last index, the state before the word."""
        self.left: list[PhoneNumbers] = []
        """Phones that are appended."""

    def add(self, row: int, options: Sequence[PhoneNumbers], last: Sequence[PhoneNumbers]) -> None:
        """Plan each option as an extension of its longest prefix in ``last``, or else of the state before the word."""
        for place, said in enumerate(options):
            fitting = [(len(option), number) for number, option in enumerate(last) if said[: len(option)] == option]
            done, number = max(fitting, default=(0, OPTIONS))
            self.rows.append(row)
            self.places.append(row * OPTIONS + place)
            self.origins.append(row * (OPTIONS + 1) + number)
            self.left.append(said[done:])


def _say(left: Sequence[PhoneNumbers], states: PrefixState, log_probs: Tensor, item: Tensor) -> PrefixState:
    """Extend states by their further phones, one phone at a time for all states that have one left."""
    for place in range(max(map(len, left))):
        rows = torch.tensor([row for row, said in enumerate(left) if len(said) > place], device=item.device)
        phones = torch.tensor([said[place] for said in left if len(said) > place], device=item.device)
        part = PrefixState(*(part.index_select(0, rows) for part in states))
        part = extend_prefix(phones, part, log_probs, item[rows])
        states = PrefixState(*(whole.index_copy(0, rows, one) for whole, one in zip(states, part, strict=True)))
    return states


def _broadcast(rows: Tensor, part: Tensor) -> Tensor:
    """Rows (rows,) shaped for broadcasting with ``part`` (rows, …)."""
    return rows.view(-1, *[1] * (part.dim() - 1))


def _find_usual_sounds(words: Sequence[str], sounds: Iterable[Sequence[PhoneNumbers]]) -> dict[str, PhoneNumbers]:
    """Each letter's most frequent sound, silence excluded, since words of silent letters alone would cost nothing."""
    counts: defaultdict[str, Counter[PhoneNumbers]] = defaultdict(Counter)
    for word, said in zip(words, sounds, strict=True):
        for letter, sound in zip(word, said, strict=True):
            if sound:
                counts[letter][sound] += 1
    return {letter: found.most_common(1)[0][0] for letter, found in counts.items()}
