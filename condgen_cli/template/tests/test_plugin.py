import json
import shlex
from pathlib import Path

import condgen_example
import pytest
from condgen_example.data import words
from condgen_example.match import DistanceMatch
from condgen_example.model import build

from condgen_cli.cli.app import run
from condgen_cli.testing import check_match_function, check_model, check_plugin

README = Path(__file__).parent.parent / "README.md"


def test_the_plugin_keeps_the_contract() -> None:
    check_plugin(condgen_example)


def test_the_model_keeps_the_contract() -> None:
    check_model(build({}, {}), list(words(Path(), "test"))[:5])


def test_the_match_function_keeps_the_contract() -> None:
    check_match_function(DistanceMatch)


def test_the_commands_of_the_readme_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [shlex.split(line) for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("    condgen ")]
    for _, *arguments in lines:
        if arguments[0] != "plugin":
            assert run(arguments) == 0, f"{arguments}: {capsys.readouterr().err}"
    assert "HELLO" in capsys.readouterr().out, "inspect, and the attention that is shown"
    assert [row["output"] for row in json.loads(Path("words.json").read_text(encoding="utf-8"))] == ["HELLO", "WORLD"]
    assert "example · hello" in Path("hello.html").read_text(encoding="utf-8")
    assert run(["eval", "example", "--dataset", "example-words", "--format", "json"]) == 0
    (scores,) = json.loads(capsys.readouterr().out)["results"]
    assert scores["metrics"]["accuracy"]["value"] > 80
    assert run(["example", "hello", "--nbest", "2", "--beam", "3", "-o", "best.jsonl"]) == 0
    assert len(Path("best.jsonl").read_text(encoding="utf-8").splitlines()) == 2
