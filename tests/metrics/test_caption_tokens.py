"""The tokenisation of captions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.data.text import caption_tokens

# as Stanford's PTBTokenizer in coco-caption's setting writes them, without what coco-caption drops
EXPECTED = {
    "A man's dog doesn't like the boys' toys.": "a man 's dog does n't like the boys toys",
    "The black/white dog can't jump; he's 3 years old!": "the black/white dog ca n't jump he 's 3 years old",
    "It's 5:30 o'clock at St. Mary's, U.S.A.": "it 's 5:30 o'clock at st. mary 's u.s.a.",
    "$3.50 for 50% off": "$ 3.50 for 50 % off",
    "\"Hello,\" she said... 'What's up?' they'll cannot": "hello she said what 's up they 'll can not",
    "A well-known T-shirt -- 10,000 people & co. in #7": "a well-known t-shirt 10,000 people & co. in # 7",
    "Let 'em go 'til the '50s rock 'n' roll, rock'n'roll": "let 'em go 'til the '50s rock 'n' roll rock 'n' roll",
    "The man – seen — here… “quoted” ‘single’ don’t": "the man seen here quoted single do n't",
    "2nd place, 4x4 truck, mid-1950s café": "2nd place 4x4 truck mid-1950s café",
    "A boy is on the dock . A girl is n't .": "a boy is on the dock a girl is n't",
    "(brackets) [and] {braces}": "brackets and braces",
    "three -lrb- one in red -rrb-": "three -lrb- one in red -rrb-",
    " \t\n": "",
}

captions = st.text(st.sampled_from("abnstmdrelvcogwn't' ''.-,:/&0151()’_#é") | st.characters(codec="utf-8"))


@pytest.mark.parametrize("text", EXPECTED)
def test_tokens_are_those_of_coco_caption(text: str) -> None:
    assert " ".join(caption_tokens(text)) == EXPECTED[text]


@given(captions)
def test_tokenising_tokens_changes_nothing(text: str) -> None:
    tokens = caption_tokens(text)
    assert caption_tokens(" ".join(tokens)) == tokens


@given(captions)
def test_tokens_are_words_in_lower_case(text: str) -> None:
    for token in caption_tokens(text):
        assert token.split() == [token]
        assert token == token.lower()


@pytest.mark.skipif("CONDGEN_TEST_DATA" not in os.environ, reason="CONDGEN_TEST_DATA names no folder with the real Flickr8k")
@pytest.mark.skipif(shutil.which("java") is None, reason="Stanford's PTBTokenizer needs java")
def test_flickr8k_is_tokenised_as_coco_caption_does() -> None:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    with ZipFile(Path(os.environ["CONDGEN_TEST_DATA"]) / "Flickr8k_text.zip") as archive:
        rows = archive.read("Flickr8k.token.txt").decode().splitlines()
    texts = [row.partition("\t")[2] for row in rows]
    (expected,) = PTBTokenizer().tokenize({"all": [{"caption": text} for text in texts]}).values()
    same = sum(" ".join(caption_tokens(text)) == words for text, words in zip(texts, expected, strict=True))
    assert same / len(texts) >= 0.999
