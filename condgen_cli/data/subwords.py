"""Vocabularies of subwords: byte pair encoding over Unicode characters."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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
"""Stands for a blank within pieces; where texts are written with spaces, every word begins with one."""

UNKNOWN = "⁇"
"""What an unknown token decodes to if nobody says which text it stands for."""

_PAD, _BOS, _EOS, _UNK = range(len(SPECIALS))
_LONGEST_PIECE = 16
_LONGEST_UNSPACED = 3
"""Without spaces nothing keeps a piece within a word, and most Chinese words have one or two characters. (The library stops
below the number that it is given.)"""
_RARE = 2


class Piece(NamedTuple):
    """A token of a text: its id, and the text it stands for as shown beside attention."""

    id: int
    text: str


class SubwordVocabulary:
    """Byte pair encoding (Sennrich et al. 2016): ``pad`` 0, ``bos`` 1, ``eos`` 2, ``unk`` 3, characters, then merged pieces.

    Texts are put in NFC and runs of blanks become one; case and punctuation are kept. Pieces don't reach across words, digits
    or punctuation. ``▁`` marks a blank, and so the beginning of a word; texts of a language written without spaces have it
    only where they do hold a blank, and pieces of at most two characters. A special's name written in a text is ordinary
    characters.

    Made by ``train`` or ``load``.
    """

    pad, bos, eos, unk = _PAD, _BOS, _EOS, _UNK

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        ids = tokenizer.get_vocab()
        self.tokens = tuple(sorted(ids, key=ids.__getitem__))

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> SubwordVocabulary:
        """Learn merges from texts; the same texts give the same vocabulary.

        Characters that come only once become ``unk``. Words are taken to be divided by spaces if most texts hold one.

        Args:
            texts: of one language, or of all the languages that share the vocabulary.
            size: number of tokens with the specials. There are fewer if the texts hold no more pairs that come twice, and more
                if the characters alone are more.
        Raises:
            UsageError: if ``size`` leaves no room for anything but the specials.
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
        # the trainer has specials found in texts; a new tokenizer hasn't
        merges = [(left, right) for left, right in model["merges"]]
        return cls(_tokenizer(BPE(model["vocab"], merges, unk_token=SPECIALS[_UNK]), spaced))

    @classmethod
    def load(cls, path: Path) -> SubwordVocabulary:
        """Read what ``save`` wrote.

        Raises:
            NotFoundError: if there is no such file.
            IntegrityError: if it isn't a vocabulary of subwords with these settings.
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
        """Write the vocabulary as the JSON of Hugging Face tokenizers, whole or not at all."""
        write_atomically(path, (self._tokenizer.to_str() + "\n").encode())

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of a text's pieces, without bos and eos; ``unk`` for each character that is not in the vocabulary."""
        return self._tokenizer.encode(_valid(text)).ids

    def pieces(self, text: str) -> list[Piece]:
        """The pieces of ``encode`` with their text; an unknown character keeps its own."""
        normal = self._tokenizer.normalizer.normalize_str(_valid(text))
        encoding = self._tokenizer.encode(normal)
        return [
            Piece(index, normal[start:end] if index == _UNK else self.tokens[index])
            for index, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        ]

    def unread(self, text: str) -> tuple[int, int]:
        """How many characters of a text have no token, and how many there are; blanks don't count."""
        pieces = [(piece.text.replace(BLANK, "").strip(), piece.id == self.unk) for piece in self.pieces(text)]
        return sum(len(shown) for shown, lost in pieces if lost), sum(len(shown) for shown, _ in pieces)

    def decode(self, ids: Sequence[int], unknown: Sequence[str] = ()) -> str:
        """The text of ids, specials left out: one line without blanks at its ends.

        Args:
            ids: of pieces, as ``encode`` gives them.
            unknown: what the ``unk`` in ``ids`` stand for, in their order; ``⁇`` for those it has no text for.
        """
        texts = iter(unknown)
        pieces = (
            next(texts, UNKNOWN) if index == _UNK else self.tokens[index]
            for index in ids
            if index == _UNK or index >= len(SPECIALS)
        )
        return re.sub(" +", " ", "".join(pieces).replace(BLANK, " ")).strip(" ")

    def token(self, index: int) -> str:
        """One token as shown beside its attention, specials in angle brackets."""
        return self.tokens[index]


def _valid(text: str) -> str:
    """Half surrogate pairs, which stand for bytes that are no UTF-8, can't be given to the tokenizer."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _normalizer() -> normalizers.Normalizer:
    # a mark for blanks that is written in a text would decode to a blank, so it is one
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
    """The tokenizer of a JSON text that is a vocabulary of subwords; a ValueError says why it isn't."""
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
    # checked here, since the library panics at some of what is wrong with merges
    merges = model.get("merges")
    if not isinstance(merges, list) or not all(_is_merge(merge, ids) for merge in merges):
        raise ValueError("its merges must be pairs of tokens that give a token")
    try:
        tokenizer = Tokenizer.from_str(content)
    except Exception as error:  # the library raises no class of its own
        raise ValueError(str(error)) from None
    # as this version of the library writes them, so that files of another one can be compared
    found = json.loads(tokenizer.to_str())
    found["model"].update(vocab={}, merges=[])
    known = [json.loads(_tokenizer(BPE(unk_token=SPECIALS[_UNK]), spaced).to_str()) for spaced in (False, True)]
    if found not in known:
        raise ValueError("its settings aren't the ones that condgen trains with")
    return tokenizer


def _is_merge(merge: Any, ids: Mapping[str, int]) -> bool:
    if not isinstance(merge, list) or len(merge) != 2 or not all(isinstance(part, str) and part for part in merge):
        return False
    return "".join(merge) in ids and all(part in ids and part not in SPECIALS for part in merge)
