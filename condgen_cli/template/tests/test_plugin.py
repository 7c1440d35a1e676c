from pathlib import Path

import condgen_example
import pytest
from condgen_example.data import words
from condgen_example.match import DistanceMatch
from condgen_example.model import build

from condgen_cli.app import run
from condgen_cli.testing import check_match_function, check_model, check_plugin


def test_the_plugin_keeps_the_contract() -> None:
    check_plugin(condgen_example)


def test_the_model_keeps_the_contract() -> None:
    check_model(build({}, {}), list(words(Path(), "test")))


def test_the_match_function_keeps_the_contract() -> None:
    check_match_function(DistanceMatch)


@pytest.mark.parametrize(("text", "output"), [("hello", "HELLO"), ("a", "A"), ("x-1y", "XY")])
def test_the_command_writes_capitals(capsys: pytest.CaptureFixture[str], text: str, output: str) -> None:
    assert run(["example", text]) == 0
    assert capsys.readouterr().out == f"{output}\n"


def test_the_command_shows_attention(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["example", "hello", "--show-attention"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 5
