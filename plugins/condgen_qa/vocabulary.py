"""The words and answers of a memory network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from condgen_cli.errors import IntegrityError
from condgen_cli.terminal.suggestions import near_names

__all__ = ["StoryVocabulary"]


class StoryVocabulary:
    """Words and answers. Every answer is a token; one that is no word, such as ``apple,milk``, is a token of its own.

    Args:
        words: words without duplicates; their indices are their ids.
        answers: answers without duplicates.
    Attributes:
        tokens: the words, then the answers that aren't words.
        answer_ids: token id of each answer.
    """

    def __init__(self, words: Sequence[str], answers: Sequence[str]) -> None:
        self.words = tuple(words)
        self.answers = tuple(answers)
        self.tokens = tuple(dict.fromkeys([*words, *answers]))
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        self._words = frozenset(self.words)
        self.answer_ids = [self._ids[answer] for answer in answers]

    @classmethod
    def build(cls, words: Iterable[str], answers: Iterable[str]) -> StoryVocabulary:
        """The vocabulary of all given words and answers, each sorted."""
        return cls(sorted(set(words)), sorted(set(answers)))

    def __len__(self) -> int:
        return len(self.tokens)

    def token(self, index: int) -> str:
        return self.tokens[index]

    def encode(self, words: Iterable[str]) -> list[int]:
        """Ids of the known words."""
        return [self._ids[word] for word in words if word in self._words]

    def unknown(self, words: Iterable[str]) -> list[str]:
        """The unknown words among ``words``, each once."""
        return [word for word in dict.fromkeys(words) if word not in self._words]

    def near(self, word: str) -> list[str]:
        """Known words close to ``word`` in spelling, nearest first."""
        return near_names(word, self.words)

    def save(self, path: Path) -> None:
        document = {"words": self.words, "answers": self.answers}
        path.write_text(json.dumps(document, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> StoryVocabulary:
        """Read a file written by ``save``.

        Raises:
            IntegrityError: if the file isn't one.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return cls([str(word) for word in document["words"]], [str(answer) for answer in document["answers"]])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise IntegrityError(f"{path} is not a vocabulary: {type(error).__name__}: {error}") from error
