"""Pronunciations: a pronouncing dictionary, and letter-to-sound rules learnt from it for other words."""

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
"""The 39 phones of CMUdict without stress, and AX for its unstressed AH."""

_NUMBERS = {phone: number for number, phone in enumerate(PHONES, 1)}

Pronunciation = tuple[str, ...]

_LONGEST = 2
"""Largest usual number of phones of a letter, as of the x in six."""
_ROUNDS = 4
"""Iterations of alignment."""
_SAMPLE = 16_000
"""Approximate number of words aligned in each iteration."""
_WINDOWS = ((4, 4), (3, 4), (3, 3), (2, 3), (2, 2), (1, 3), (1, 2), (2, 1), (1, 1), (0, 1), (1, 0), (0, 0))
"""Numbers of letters before and after a letter that decide its sound; the first context seen often enough is used."""
_OFTEN = 2
_UNSEEN = (1e-3, 1e-4, 1e-6)
"""Pseudo-counts of unseen sounds of a letter: without a phone, of one, of two or more."""
_EDGE = "#"


def number_phones(said: Iterable[str]) -> tuple[int, ...]:
    """Numbers of phones, from 1, since CTC's blank is 0."""
    return tuple(_NUMBERS[phone] for phone in said)


def read_dictionary(path: Path) -> dict[str, list[Pronunciation]]:
    """Read a pronouncing dictionary in CMUdict's format.

    Each line has a word, or ``word(2)`` for its second pronunciation, and its phones; ``#`` begins a comment.

    Returns:
        Pronunciations of each word, in upper case and in the file's order.
    Raises:
        NotFoundError: if the file is missing.
        InputError: if a line has another form or an unknown phone.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"no pronouncing dictionary {path}", "cmudict.dict of CMUdict is one") from None
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
    """Pronounces words letter by letter: by the dictionary, or for other words by each letter's context.

    Contexts are used as by Black et al. 1998, with counts in place of decision trees.

    Args:
        dictionary: pronunciations of words, from which the rules are learnt.
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
        """Phones of each letter of a word, whatever its case; empty for other characters."""
        # letter by letter, since the word may get longer: ß in upper case is SS
        word = "".join(letter.upper() if len(letter.upper()) == 1 else letter for letter in word)
        if word in self.dictionary:
            return self.alignment(word, self.dictionary[word][0])
        said: list[Pronunciation] = []
        last = ""
        for windows in _windows(word):
            sound = next((self.sounds[window] for window in windows if window in self.sounds), ())
            # both letters of a double letter may have got its sound, since their contexts differ
            said.append(sound[1:] if sound[:1] == (last,) else sound)
            last = sound[-1] if sound else last
        return said


def _windows(word: str) -> Iterator[list[str]]:
    """Contexts of each letter, the widest first."""
    for place in range(len(word)):
        before, after = f"{_EDGE}{word[:place]}", f"{word[place + 1 :]}{_EDGE}"
        yield [f"{before[-left:] if left else ''}<{word[place]}>{after[:right]}" for left, right in _WINDOWS]


class _Alignment:
    """Most probable alignment of a word's letters with its phones: none, one or two for each letter, rarely more."""

    def __init__(self, pairs: Iterable[tuple[str, Pronunciation]]) -> None:
        # initially a letter is counted with the phones at about its place in the word
        self.counts: Counter[tuple[str, Pronunciation]] = Counter()
        for word, said in pairs:
            for place, letter in enumerate(word):
                near = place * len(said) // len(word)
                for start in range(max(0, near - 1), min(len(said), near + 2)):
                    self.counts[letter, said[start : start + 1]] += 1
        self.totals = Counter(letter for letter, _ in self.counts.elements())

    def share(self, letter: str, sound: Pronunciation) -> float:
        """Smoothed share of a sound among a letter's sounds."""
        return (self.counts[letter, sound] + _UNSEEN[min(len(sound), _LONGEST)]) / (self.totals[letter] + 1)

    def learn(self, pairs: Iterable[tuple[str, Pronunciation]]) -> None:
        """Replace the counts by those of the best alignments."""
        counts = Counter(item for word, said in pairs for item in zip(word, self(word, said), strict=True))
        self.counts = counts
        self.totals = Counter()
        for (letter, _), count in counts.items():
            self.totals[letter] += count

    def __call__(self, word: str, said: Pronunciation) -> list[Pronunciation]:
        """Phones of each letter."""
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
