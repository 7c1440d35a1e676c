import json
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


def test_the_command_has_the_options_of_all_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written, maps = tmp_path / "out.json", tmp_path / "{stem}.html"
    options = ["--beam", "3", "--nbest", "2", "--format", "json", "-o", str(written), "--save-attention", str(maps)]
    assert run(["example", "hello", "you", *options]) == 0, capsys.readouterr().err
    rows = json.loads(written.read_text(encoding="utf-8"))
    assert [row["output"] for row in rows[::2]] == ["HELLO", "YOU"]
    assert len(rows) == 4
    assert len(list(tmp_path.glob("*.html"))) == 2


def test_the_model_is_scored_and_looked_inside(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "example", "--dataset", "example-words", "--format", "json"]) == 0, capsys.readouterr().err
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["metrics"]["accuracy"]["value"] == 100
    assert run(["inspect", "example", "--format", "json"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert run(["inspect", "example", "hello"]) == 0, capsys.readouterr().err
    assert "HELLO" in capsys.readouterr().out
