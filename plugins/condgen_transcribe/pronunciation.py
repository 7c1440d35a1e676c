"""How words are said: a pronouncing dictionary, and letter-to-sound rules learnt from it for words that it lacks."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from condgen_cli.errors import InputError, NotFoundError

__all__ = ["PHONES", "LetterToSound", "Pronunciation", "number_phones", "read_dictionary"]

PHONES = tuple(
    "AA AE AH AO AW AX AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()  # noqa: SIM905
)
"""The 39 of CMUdict without stress, and AX, its unstressed AH."""

_NUMBERS = {phone: number for number, phone in enumerate(PHONES, 1)}

Pronunciation = tuple[str, ...]

_LONGEST = 2
"""Phones of a letter: the x of six has two."""
_ROUNDS = 4
"""Of alignment."""
_SAMPLE = 16_000
"""Words that are aligned in these, or a few more."""
_WINDOWS = ((4, 4), (3, 4), (3, 3), (2, 3), (2, 2), (1, 3), (1, 2), (2, 1), (1, 1), (0, 1), (1, 0), (0, 0))
"""Letters before and after one that decide what it sounds like, the first that were seen often enough."""
_OFTEN = 2
_UNSEEN = (1e-3, 1e-4, 1e-6)
"""What is counted of a sound that a letter hasn't had yet: of none, of one phone, of two or more."""
_EDGE = "#"


def number_phones(said: Iterable[str]) -> tuple[int, ...]:
    """The numbers of phones, from 1: CTC's blank is 0."""
    return tuple(_NUMBERS[phone] for phone in said)


def read_dictionary(path: Path) -> dict[str, list[Pronunciation]]:
    """CMUdict's format: a word, or ``word(2)`` for its second pronunciation, and phones, in each line; ``#`` begins a comment.

    Returns:
        The pronunciations of each word, which is in upper case, in the file's order.
    Raises:
        NotFoundError: if there is no such file.
        InputError: if a line has another form or another phone.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"no pronouncing dictionary {path}", "cmudict.dict of CMUdict") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read: {error}") from None
    found: defaultdict[str, list[Pronunciation]] = defaultdict(list)
    for number, line in enumerate(lines, 1):
        word, *phones = line.partition("#")[0].split() or [""]
        said = tuple("AX" if phone == "AH0" else phone.rstrip("012") for phone in phones)
        if word and (not said or not set(said) <= set(PHONES)):
            raise InputError(f"{path}:{number}: expected a word and its phones")
        if word:
            found[re.sub(r"\(\d+\)$", "", word).upper()].append(said)
    return dict(found)


class LetterToSound:
    """Says words letter by letter: as the dictionary does, or, where it lacks a word, by the letters around each (as Black et
    al. 1998 do, with counts in place of trees).

    Args:
        dictionary: to learn from.
    """

    def __init__(self, dictionary: Mapping[str, Sequence[Pronunciation]]) -> None:
        self.dictionary = dictionary
        pairs = [(word, said[0]) for word, said in dictionary.items()]
        self.alignment = _Alignment(pairs)
        for _ in range(_ROUNDS):
            self.alignment.learn(pairs[:: max(1, len(pairs) // _SAMPLE)])
        counts: defaultdict[str, Counter[Pronunciation]] = defaultdict(Counter)
        for word, said in pairs:
            for windows, sound in zip(_windows(word), self.alignment(word, said), strict=True):
                for window in windows:
                    counts[window][sound] += 1
        self.sounds = {
            window: sounds.most_common(1)[0][0] for window, sounds in counts.items() if sum(sounds.values()) >= _OFTEN
        }

    def __call__(self, word: str) -> list[Pronunciation]:
        """Phones of each letter of a word in upper case; none of what is no letter."""
        if word in self.dictionary:
            return self.alignment(word, self.dictionary[word][0])
        said: list[Pronunciation] = []
        last = ""
        for windows in _windows(word):
            sound = next((self.sounds[window] for window in windows if window in self.sounds), ())
            # the two letters of a double one, each with other letters around it, may both claim its sound
            said.append(sound[1:] if sound[:1] == (last,) else sound)
            last = sound[-1] if sound else last
        return said


def _windows(word: str) -> Iterator[list[str]]:
    """Of each letter its windows, the widest first."""
    for place in range(len(word)):
        before, after = f"{_EDGE}{word[:place]}", f"{word[place + 1 :]}{_EDGE}"
        yield [f"{before[-left:] if left else ''}<{word[place]}>{after[:right]}" for left, right in _WINDOWS]


class _Alignment:
    """Which phones of a word each of its letters has: none, one or two, rarely more, so that the counts of letters' sounds make
    it likeliest."""

    def __init__(self, pairs: Iterable[tuple[str, Pronunciation]]) -> None:
        # at first a letter goes with the phones of its words that lie about where it does
        self.counts: Counter[tuple[str, Pronunciation]] = Counter()
        for word, said in pairs:
            for place, letter in enumerate(word):
                near = place * len(said) // len(word)
                for start in range(max(0, near - 1), min(len(said), near + 2)):
                    self.counts[letter, said[start : start + 1]] += 1
        self.totals = Counter(letter for letter, _ in self.counts.elements())

    def share(self, letter: str, sound: Pronunciation) -> float:
        """How much of a letter's sounds is this one."""
        return (self.counts[letter, sound] + _UNSEEN[min(len(sound), _LONGEST)]) / (self.totals[letter] + 1)

    def learn(self, pairs: Iterable[tuple[str, Pronunciation]]) -> None:
        """Counts of the best alignments."""
        counts = Counter(item for word, said in pairs for item in zip(word, self(word, said), strict=True))
        self.counts = counts
        self.totals = Counter()
        for (letter, _), count in counts.items():
            self.totals[letter] += count

    def __call__(self, word: str, said: Pronunciation) -> list[Pronunciation]:
        """Of each letter its phones."""
        longest = max(_LONGEST, math.ceil(len(said) / len(word)))
        best: list[dict[int, tuple[float, int]]] = [{0: (1.0, 0)}]
        for place, letter in enumerate(word):
            left = len(word) - place - 1
            reached: dict[int, tuple[float, int]] = {}
            for start, (share, _) in best[-1].items():
                for end in range(start, min(start + longest, len(said)) + 1):
                    if len(said) - end > longest * left:
                        continue
                    found = share * self.share(letter, said[start:end])
                    if end not in reached or found > reached[end][0]:
                        reached[end] = (found, start)
            best.append(reached)
        sounds: list[Pronunciation] = []
        end = len(said)
        for reached in reversed(best[1:]):
            start = reached[end][1]
            sounds.append(said[start:end])
            end = start
        return sounds[::-1]
