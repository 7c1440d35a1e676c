"""JSON that is nested deeper than Python can follow is refused as any other damage, whatever reads it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from condgen_cli.errors import IntegrityError

LOADERS = [
    "condgen_qa.vocabulary:StoryVocabulary",
    "condgen_generate.vocabulary:CharacterVocabulary",
    "condgen_transcribe.words:Lexicon",
    "condgen_cli.data.text:WordVocabulary",
    "condgen_cli.data.subwords:SubwordVocabulary",
]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("content", ["[" * 100_000, '{"words":' * 100_000])
def test_deep_json_is_damage(loader: str, content: str, tmp_path: Path) -> None:
    module, _, name = loader.partition(":")
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(IntegrityError, match=r"vocabulary\.json"):
        getattr(importlib.import_module(module), name).load(path)
