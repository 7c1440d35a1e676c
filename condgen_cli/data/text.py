"""Word-level text processing: the tokenisation of captions, for training and metrics alike, and word vocabularies."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from condgen_cli.errors import IntegrityError, NotFoundError, UsageError
from condgen_cli.files import write_atomically

__all__ = ["CAPTION_TOKENISATION", "TOKENIZERS", "WordVocabulary", "caption_tokens"]

CAPTION_TOKENISATION = "condgen-ptb-1"
"""Name of the tokenisation in signatures; it changes whenever an output of ``caption_tokens`` changes."""

_CHAR = r"[^\s!-/:-@\[-^`{-~\u00a1\u00ab\u00bb\u00bf\u2000-\u206f\u3001\u3002]"
_LETTER = r"[^\W\d_]"
_ABBREVIATIONS = "mr|mrs|ms|dr|prof|st|ave|jr|sr|vs|etc|co|inc|ltd|lt|sgt|gen"
_CLITICS = "s|m|d|re|ve|ll"

_TYPOGRAPHIC = str.maketrans({"\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u2010": "-", "\u2011": "-"})
_COMPOUNDS = {
    "cannot": "can not",
    "gimme": "gim me",
    "gonna": "gon na",
    "gotta": "got ta",
    "lemme": "lem me",
    "wanna": "wan na",
}
_COMPOUND = re.compile(rf"(?<!{_CHAR})(?:{'|'.join(_COMPOUNDS)})(?!{_CHAR})")
_CONTRACTIONS = re.compile(rf"(?<={_CHAR})(n't|'(?:{_CLITICS}))(?!{_CHAR})")
_AND = re.compile(rf"(?<={_CHAR})'n'(?={_CHAR})")
_TOKENS = re.compile(
    rf"""
      -[lr][rcs]b-                                        # a bracket as PTB tools write it
    | '(?:{_CLITICS}|em|til|n'|\d0s)(?!{_CHAR}|')         # man 's, rock 'n' roll, the '50s
    | (?:{_LETTER}\.)+(?:{_LETTER}(?!{_CHAR}))?           # u.s.a., an initial
    | (?:{_ABBREVIATIONS})\.(?!{_CHAR})
    | {_CHAR}+(?:(?:
          [-/&]                                           # black-and-white, black/white, at&t
        | (?<={_LETTER})'(?={_LETTER})                    # o'clock, and n't on its own
        | (?<=\d)[.,:](?=\d)                              # 3.50, 10,000, 5:30
        | \.(?=(?:com|org|net|edu)\b)
      ){_CHAR}+)*
    | [\#$%&*+/<=>@\\^|~]                                 # symbols are words; any other punctuation is dropped
    """,
    re.VERBOSE,
)


def caption_tokens(text: str) -> list[str]:
    """Lower-case words of a caption, tokenised as in coco-caption: Penn Treebank tokens without punctuation.

    Contractions and possessives are split (``man's`` -> ``man 's``, ``can't`` -> ``ca n't``); numbers, hyphenated words and
    abbreviations stay whole (``10,000``, ``t-shirt``, ``u.s.``, ``mr.``); quotes, brackets, dashes and punctuation marks are
    removed. Symbols such as ``&`` and ``#`` are words. Tokenising the tokens again changes nothing:
    ``caption_tokens(" ".join(tokens)) == tokens``.
    """
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()).translate(_TYPOGRAPHIC)
    text = _COMPOUND.sub(lambda match: _COMPOUNDS[match[0]], text)
    text = _CONTRACTIONS.sub(r" \1", _AND.sub(" 'n' ", text))
    return _TOKENS.findall(text)


TOKENIZERS: Mapping[str, Callable[[str], list[str]]] = {CAPTION_TOKENISATION: caption_tokens, "whitespace": str.split}
"""Tokenizers by their name in the file of a vocabulary."""

SPECIALS = ("<pad>", "<bos>", "<eos>", "<unk>")


class WordVocabulary:
    """A word vocabulary with the ids ``pad`` 0, ``bos`` 1, ``eos`` 2, ``unk`` 3, and the words from 4 on.

    Args:
        words: words in the order of their ids, without special tokens.
        tokenizer: key of ``TOKENIZERS``, stored with the words.
    Raises:
        UsageError: for an unknown tokenizer, or a word that is empty, contains a blank, is a special token or is repeated.
    """

    pad, bos, eos, unk = range(len(SPECIALS))

    def __init__(self, words: Iterable[str], tokenizer: str = CAPTION_TOKENISATION) -> None:
        if tokenizer not in TOKENIZERS:
            raise UsageError(f"no tokenizer named {tokenizer!r}", f"known: {', '.join(TOKENIZERS)}")
        self.tokenizer = tokenizer
        self.tokens = (*SPECIALS, *words)
        # the name of a special token in a text is an unknown word
        self._ids = {word: index for index, word in enumerate(self.tokens) if index >= len(SPECIALS)}
        _check_words(self.tokens[len(SPECIALS) :])

    @classmethod
    def build(cls, texts: Iterable[str], min_count: int = 1, tokenizer: str = CAPTION_TOKENISATION) -> WordVocabulary:
        """Build the vocabulary of the words in ``texts``, by decreasing frequency, then in code point order.

        Args:
            texts: training texts.
            min_count: minimum count of a word.
            tokenizer: key of ``TOKENIZERS``.

        Raises:
            UsageError: if ``min_count`` is below 1, or the tokenizer is unknown.
        """
        if min_count < 1:
            raise UsageError(f"min_count must be at least 1, not {min_count}")
        empty = cls((), tokenizer)
        counts = Counter(word for text in texts for word in empty.words(text) if word not in SPECIALS)
        frequent = [word for word, count in counts.items() if count >= min_count]
        return cls(sorted(frequent, key=lambda word: (-counts[word], word)), tokenizer)

    @classmethod
    def load(cls, path: Path) -> WordVocabulary:
        """Read a vocabulary that ``save`` has written.

        Raises:
            NotFoundError: if there is no such file.
            IntegrityError: if it isn't a word vocabulary that this version supports.
        """
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise NotFoundError(f"no vocabulary {path}") from None
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"{path} is no JSON: {error}") from None
        tokenizer, tokens = _read_document(document, path)
        try:
            return cls(tokens[len(SPECIALS) :], tokenizer)
        except UsageError as error:
            raise IntegrityError(f"{path} is no vocabulary that can be used: {error.message}") from None

    def save(self, path: Path) -> None:
        """Write the vocabulary as JSON, atomically."""
        document = {"type": "words", "tokenizer": self.tokenizer, "tokens": self.tokens}
        write_atomically(path, (json.dumps(document, ensure_ascii=False, indent=0) + "\n").encode())

    def __len__(self) -> int:
        return len(self.tokens)

    def words(self, text: str) -> list[str]:
        """The words of a text, in the vocabulary or not."""
        return TOKENIZERS[self.tokenizer](text)

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, without bos and eos; ``unk`` for words that are not in the vocabulary."""
        return [self._ids.get(word, self.unk) for word in self.words(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """The words of token ids joined by blanks, without special tokens."""
        return " ".join(self.tokens[index] for index in ids if index >= len(SPECIALS))

    def token(self, index: int) -> str:
        """A token as shown with attention; special tokens are in angle brackets."""
        return self.tokens[index]


def _check_words(words: Sequence[str]) -> None:
    seen = set(SPECIALS)
    for word in words:
        if word.split() != [word]:
            raise UsageError(f"{word!r} is no word")
        if word in seen:
            raise UsageError(f"{word!r} comes twice")
        seen.add(word)


def _read_document(document: object, path: Path) -> tuple[str, list[str]]:
    if not isinstance(document, dict) or document.get("type") != "words":
        raise IntegrityError(f"{path} is no vocabulary of words")
    tokenizer, tokens = document.get("tokenizer"), document.get("tokens")
    if not isinstance(tokenizer, str) or not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise IntegrityError(f"{path} needs a tokenizer's name and a list of tokens")
    if tuple(tokens[: len(SPECIALS)]) != SPECIALS:
        raise IntegrityError(f"{path} must begin with the tokens {' '.join(SPECIALS)}")
    return tokenizer, tokens
