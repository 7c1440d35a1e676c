from __future__ import annotations

import json
from pathlib import Path

import pytest

from condgen_cli.app import run
from condgen_cli.plugins import manager

pytestmark = pytest.mark.usefixtures("elsewhere")

RECIPE = """
name = "small"
task = "{task}"
[model]
architecture = "{architecture}"
[data]
dataset = "none"
[training]
metric = "loss"
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def name() -> str:
    """A recipe of a plugin."""
    return min(manager().recipes)


def test_recipes_are_listed_shown_and_copied(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "ls", "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["recipes"]
    assert {recipe["name"] for recipe in listed} == set(manager().recipes)
    assert run(["recipe", "show", name]) == 0
    shown = capsys.readouterr().out
    assert run(["recipe", "copy", name, "mine.toml"]) == 0
    assert capsys.readouterr().out == "mine.toml\n"
    assert (tmp_path / "mine.toml").read_text().rstrip() == shown.rstrip()

    assert run(["recipe", "copy", name, "mine.toml"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_every_recipe_of_a_plugin_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    for name, spec in manager().recipes.items():
        assert run(["recipe", "show", name, "--format", "json"]) == 0, capsys.readouterr().err
        resolved = json.loads(capsys.readouterr().out)
        assert resolved["task"] == spec.task
        assert resolved["model"]["architecture"] in manager().models


def test_a_copy_with_overrides_shows_what_applies(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.toml").write_text(RECIPE.format(task="a", architecture="b"))
    assert run(["recipe", "show", "small.toml", "training.epochs=7"]) == 0
    assert json.loads(capsys.readouterr().out)["training"]["epochs"] == 7


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing-like-it"], 3, "no recipe named 'nothing-like-it'"),
        (["missing.toml"], 3, "no recipe missing.toml"),
        (["small.toml", "epochs"], 2, "'epochs' is not of the form key.path=value"),
        (["small.toml", "training.epochs=none"], 2, "training.epochs: input should be a valid integer"),
        (["small.toml"], 3, "no architecture named 'unheard-of'"),
        (["small.toml", "model.architecture=caption"], 2, "architecture caption is for the task caption"),
        (["small.toml", "--resume"], 3, "no run to resume in runs/small"),
        (["small.toml", "-o", "small.toml"], 2, "small.toml is not a directory"),
    ],
)
def test_faults(arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.toml").write_text(RECIPE.format(task="none", architecture="unheard-of"))
    assert run(["train", *arguments]) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert not Path("runs").exists()
