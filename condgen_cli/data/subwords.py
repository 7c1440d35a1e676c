"""Subword vocabularies: byte pair encoding over Unicode characters."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from condgen_cli.data.text import SPECIALS
from condgen_cli.errors import IntegrityError, NotFoundError, UsageError
from condgen_cli.files import write_atomically

__all__ = ["BLANK", "UNKNOWN", "Piece", "SubwordVocabulary"]

BLANK = "▁"
"""Represents a blank in pieces; in languages with spaces between words, every word begins with it."""

UNKNOWN = "⁇"
"""Text of an unknown token if its source text is not given."""

_PAD, _BOS, _EOS, _UNK = range(len(SPECIALS))
_LONGEST_PIECE = 16
_LONGEST_UNSPACED = 3
"""Length limit of pieces in languages without spaces, where pieces may cross words: most Chinese words have one or two
characters. (The library stops below this number.)"""
_RARE = 2


class Piece(NamedTuple):
    """A token of a text: its id, and its text as shown with attention."""

    id: int
    text: str


class SubwordVocabulary:
    """Byte pair encoding (Sennrich et al. 2016): ``pad`` 0, ``bos`` 1, ``eos`` 2, ``unk`` 3, characters, then merged pieces.

    Texts are normalised to NFC with single blanks; case and punctuation are kept. Pieces don't cross words, digits or
    punctuation. ``▁`` marks a blank, and so the beginning of a word. In languages without spaces it only marks actual
    blanks, and pieces have at most two characters. The name of a special token in a text is ordinary characters.

    Use ``train`` or ``load`` to create one.
    """

    pad, bos, eos, unk = _PAD, _BOS, _EOS, _UNK

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        ids = tokenizer.get_vocab()
        self.tokens = tuple(sorted(ids, key=ids.__getitem__))

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> SubwordVocabulary:
        """Learn a vocabulary from texts; the same texts give the same vocabulary.

        Characters that occur only once become ``unk``. Words are assumed to be separated by spaces if most texts contain one.

        Args:
            texts: texts in all languages that share the vocabulary.
            size: number of tokens, with the special tokens. There are fewer if no more pairs occur twice, and more if there are
                more characters than this.
        Raises:
            UsageError: if ``size`` only leaves room for the special tokens.
        """
        if size <= len(SPECIALS) + 1:
            raise UsageError(f"a vocabulary of subwords needs more than {len(SPECIALS) + 1} tokens, not {size}")
        normalizer = _normalizer()
        normal = [text for text in (normalizer.normalize_str(_valid(text)) for text in texts) if text]
        spaced = 2 * sum(" " in text for text in normal) > len(normal)
        counts = Counter(character for text in normal for character in text if character != " ")
        alphabet = sorted({BLANK, *(character for character, count in counts.items() if count >= _RARE)})
        learner = _tokenizer(BPE(unk_token=SPECIALS[_UNK]), spaced)
        learner.train_from_iterator(
            normal,
            BpeTrainer(
                vocab_size=size,
                min_frequency=_RARE,
                special_tokens=list(SPECIALS),
                initial_alphabet=alphabet,
                limit_alphabet=len(alphabet),
                max_token_length=_LONGEST_PIECE if spaced else _LONGEST_UNSPACED,
                show_progress=False,
            ),
        )
        model = json.loads(learner.to_str())["model"]
        # the trained tokenizer would recognise special tokens in texts; a new one doesn't
        merges = [(left, right) for left, right in model["merges"]]
        return cls(_tokenizer(BPE(model["vocab"], merges, unk_token=SPECIALS[_UNK]), spaced))

    @classmethod
    def load(cls, path: Path) -> SubwordVocabulary:
        """Read a vocabulary that ``save`` has written.

        Raises:
            NotFoundError: if there is no such file.
            IntegrityError: if it isn't a subword vocabulary with these settings.
        """
        try:
            content = path.read_text(encoding="utf-8")
            document = json.loads(content)
        except FileNotFoundError:
            raise NotFoundError(f"no vocabulary {path}") from None
        except (ValueError, RecursionError) as error:
            raise IntegrityError(f"{path} is no JSON: {error}") from None
        try:
            return cls(_read_document(document, content))
        except ValueError as error:
            raise IntegrityError(f"{path} is no vocabulary of subwords: {error}") from None

    def save(self, path: Path) -> None:
        """Write the vocabulary atomically, in the JSON format of Hugging Face tokenizers."""
        write_atomically(path, (self._tokenizer.to_str() + "\n").encode())

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, without bos and eos; ``unk`` for each character that is not in the vocabulary."""
        return self._tokenizer.encode(_valid(text)).ids

    def pieces(self, text: str) -> list[Piece]:
        """The tokens of ``encode`` with their texts; that of ``unk`` is the unknown character."""
        normal = self._tokenizer.normalizer.normalize_str(_valid(text))
        encoding = self._tokenizer.encode(normal)
        return [
            Piece(index, normal[start:end] if index == _UNK else self.tokens[index])
            for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        ]

    def unread(self, text: str) -> tuple[int, int]:
        """The number of unknown characters in a text, and of all characters, without blanks."""
        pieces = [(piece.text.replace(BLANK, "").strip(), piece.id == self.unk) for piece in self.pieces(text)]
        return sum(len(shown) for shown, lost in pieces if lost), sum(len(shown) for shown, _ in pieces)

    def decode(self, ids: Sequence[int], unknown: Sequence[str] = ()) -> str:
        """The text of token ids, without special tokens, as one line without blanks at its ends.

        Args:
            ids: token ids.
            unknown: texts of the unknown tokens in ``ids``, in order; the rest become ``⁇``.
        """
        texts = iter(unknown)
        pieces = (
            next(texts, UNKNOWN) if index == _UNK else self.tokens[index]
            for index in ids
            if index == _UNK or index >= len(SPECIALS)
        )
        return re.sub(" +", " ", "".join(pieces).replace(BLANK, " ")).strip(" ")

    def token(self, index: int) -> str:
        """A token as shown with attention; special tokens are in angle brackets."""
        return self.tokens[index]


def _valid(text: str) -> str:
    """A text without lone surrogates, which represent bytes that aren't UTF-8 and which the tokenizer refuses."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _normalizer() -> normalizers.Normalizer:
    # the blank mark in a text would be decoded to a blank, so it is treated as one
    blanks = normalizers.Replace(Regex(rf"[\s{BLANK}]+"), " ")
    return normalizers.Sequence([normalizers.NFC(), blanks, normalizers.Strip()])


def _tokenizer(model: BPE, spaced: bool) -> Tokenizer:
    tokenizer = Tokenizer(model)
    scheme = "always" if spaced else "never"
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(BLANK, scheme),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(BLANK, scheme)
    return tokenizer


def _read_document(document: Any, content: str) -> Tokenizer:
    """The tokenizer of a subword vocabulary in JSON.

    Raises:
        ValueError: if it isn't one; the message says why.
    """
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(model, dict) or model.get("type") != "BPE":
        raise ValueError("it has no model of type BPE")
    ids = model.get("vocab")
    if not isinstance(ids, dict) or any(type(index) is not int for index in ids.values()):
        raise ValueError("its model needs tokens and their ids")
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError("its ids aren't 0, 1, 2 and so on")
    if any(ids.get(special) != index for index, special in enumerate(SPECIALS)):
        raise ValueError(f"it must begin with the tokens {' '.join(SPECIALS)}")
    # checked here, since the library panics at some invalid merges
    merges = model.get("merges")
    parts = {token for token in ids if token not in SPECIALS and token}
    if not isinstance(merges, list) or not all(_is_merge(merge, ids, parts) for merge in merges):
        raise ValueError("its merges must be pairs of tokens that give a token")
    try:
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the library raises no class of its own
        raise ValueError(str(error)) from None
    # as this version of the library writes it, so that files of other versions can be compared
    settings = json.dumps({**document, "model": {**model, "vocab": {}, "merges": []}})
    found = json.loads(Tokenizer.from_str(settings).to_str())
    known = [json.loads(_tokenizer(BPE(unk_token=SPECIALS[_UNK]), spaced).to_str()) for spaced in (False, True)]
    if found not in known:
        raise ValueError("its settings aren't the ones that condgen trains with")
    return tokenizer


def _is_merge(merge: Any, ids: Mapping[str, int], parts: Set[str]) -> bool:
    """Whether a merge is a pair of ``parts``, tokens that may be merged, that gives a token. Called for each of thousands."""
    if not isinstance(merge, list) or len(merge) != 2:
        return False
    left, right = merge
    return isinstance(left, str) and isinstance(right, str) and left in parts and right in parts and left + right in ids
