import json
import shlex
from pathlib import Path

import condgen_example
import pytest
from condgen_example.data import words
from condgen_example.match import DistanceMatch
from condgen_example.model import build

from condgen_cli.app import run
from condgen_cli.testing import check_match_function, check_model, check_plugin

README = Path(__file__).parent.parent / "README.md"


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


def test_the_command_has_the_options_of_all_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written, maps = tmp_path / "out.json", tmp_path / "{stem}.html"
    options = ["--beam", "3", "--nbest", "2", "--format", "json", "-o", str(written), "--save-attention", str(maps)]
    assert run(["example", "hello", "you", *options]) == 0, capsys.readouterr().err
    rows = json.loads(written.read_text(encoding="utf-8"))
    assert [row["output"] for row in rows[::2]] == ["HELLO", "YOU"]
    assert len(rows) == 4
    assert len(list(tmp_path.glob("*.html"))) == 2


def test_the_commands_of_the_readme_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [shlex.split(line) for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("    condgen ")]
    for _, *arguments in lines:
        if arguments[0] != "plugin":
            assert run(arguments) == 0, f"{arguments}: {capsys.readouterr().err}"
    out = capsys.readouterr().out
    assert "100.0" in out, "eval: the model makes no error"
    assert "HELLO" in out, "inspect, and the attention that is shown"
    assert [row["output"] for row in json.loads(Path("words.json").read_text(encoding="utf-8"))] == ["HELLO", "WORLD"]
    assert "example · hello" in Path("hello.html").read_text(encoding="utf-8")
