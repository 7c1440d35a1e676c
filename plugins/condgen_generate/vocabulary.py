"""A vocabulary of characters and control tokens."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from condgen_cli.data.text import SPECIALS
from condgen_cli.errors import IntegrityError

__all__ = ["CharacterVocabulary"]


class CharacterVocabulary:
    """``pad`` 0, ``bos`` 1, ``eos`` 2, ``unk`` 3, then control tokens such as the name of a form, then characters.

    Args:
        controls: names of control tokens, without duplicates.
        characters: characters without duplicates.
    """

    pad, bos, eos, unk = range(4)

    def __init__(self, controls: Sequence[str], characters: Sequence[str]) -> None:
        self.controls = tuple(controls)
        self.characters = tuple(characters)
        self.first = len(SPECIALS) + len(self.controls)
        self._ids = {character: index for index, character in enumerate(self.characters, self.first)}

    @classmethod
    def build(cls, texts: Iterable[str], controls: Sequence[str] = (), min_count: int = 1) -> CharacterVocabulary:
        """The vocabulary of the characters that occur at least ``min_count`` times in texts, sorted."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        return cls(controls, sorted(character for character, count in counts.items() if count >= min_count))

    def __len__(self) -> int:
        return self.first + len(self.characters)

    def encode(self, text: str) -> list[int]:
        """Ids of a text's characters, ``unk`` for unknown ones."""
        return [self._ids.get(character, self.unk) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the characters among ids."""
        return "".join(self.characters[index - self.first] for index in ids if index >= self.first)

    def token(self, index: int) -> str:
        if index >= self.first:
            return self.characters[index - self.first]
        return SPECIALS[index] if index < len(SPECIALS) else f"<{self.controls[index - len(SPECIALS)]}>"

    def control(self, name: str) -> int:
        """The id of a control token.

        Raises:
            ValueError: if there is no such token.
        """
        return len(SPECIALS) + self.controls.index(name)

    def unknown(self, text: str) -> list[str]:
        """The unknown characters of a text, each once."""
        return [character for character in dict.fromkeys(text) if character not in self._ids]

    def save(self, path: Path) -> None:
        document = {"controls": self.controls, "characters": "".join(self.characters)}
        path.write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> CharacterVocabulary:
        """Read a file written by ``save``.

        Raises:
            IntegrityError: if the file isn't one.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return cls([str(name) for name in document["controls"]], list(str(document["characters"])))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError(f"{path} is no vocabulary of characters: {type(error).__name__}: {error}") from error
