"""The recipes that the zoo keeps: shown, checked, and those of the released models."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from condgen_cli.cli.app import run
from condgen_cli.training.library import find_recipe
from condgen_cli.training.stages import parse_stages
from condgen_cli.zoo.manifest import SCHEMA
from condgen_cli.zoo.recipes import TrainingRecipe, parse_training_recipe
from condgen_cli.zoo.sources import bundled_source
from tests.zoo.conftest import Server, file_entry, manifest, model_entry

ZOO = Path(__file__).parents[2] / "zoo"
STAGE: dict[str, Any] = {
    "seed": 1,
    "model": {"architecture": "sat", "size": 3},
    "training": {"epochs": 2, "betas": [0.9, 0.999]},
}
TWO: dict[str, Any] = {
    "name": "two",
    "task": "caption",
    "stages": [
        {"name": "first", "init": None, **STAGE},
        {"name": "anew", "init": None, **STAGE, "training": {"epochs": 3, "betas": [0.9, 0.999]}},
        {"name": "last", "init": "stage:first", **STAGE, "seed": 2},
    ],
}


def zoo_with(folder: Path, recipe: bytes, **changes: Any) -> Path:
    """A zoo of one model, ``toy``, with a recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.json").write_bytes(recipe)
    entry = model_entry("toy", recipe={**file_entry("recipe.json", recipe, "toy.json"), **changes})
    (folder / "manifest.json").write_bytes(manifest(entry))
    return folder


def test_show_prints_the_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = {"name": "one", "task": "caption", "init": None, **STAGE}
    zoo = str(zoo_with(tmp_path, json.dumps(document).encode()))
    assert run(["--zoo", zoo, "show", "toy", "--recipe", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert run(["--zoo", zoo, "show", "toy", "--recipe"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == {key: value for key, value in document.items() if value is not None}


def test_what_stages_share_is_printed_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zoo = str(zoo_with(tmp_path, json.dumps(TWO).encode()))
    assert run(["--zoo", zoo, "show", "toy", "--recipe"]) == 0
    assert tomllib.loads(capsys.readouterr().out) == {
        "name": "two",
        "task": "caption",
        "model": STAGE["model"],
        "training": {"betas": [0.9, 0.999]},
        "stages": [
            {"name": "first", "seed": 1, "training": {"epochs": 2}},
            {"name": "anew", "init": "", "seed": 1, "training": {"epochs": 3}},
            {"name": "last", "init": "stage:first", "seed": 2, "training": {"epochs": 2}},
        ],
    }


def test_a_recipe_elsewhere_is_fetched_and_checked(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = json.dumps({"name": "one", **STAGE}).encode()
    server.files["/zoo/toy.json"] = recipe
    server.files["/zoo/manifest.json"] = manifest(model_entry("toy", recipe=file_entry("recipe.json", recipe, "toy.json")))
    remote = server.url("/zoo/manifest.json")
    assert run(["--zoo", remote, "show", "toy", "--recipe", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "one"
    server.files["/zoo/toy.json"] = recipe.replace(b"one", b"two")
    assert run(["--zoo", remote, "show", "toy", "--recipe"]) == 6
    assert "damaged" in capsys.readouterr().err
    assert run(["--offline", "--zoo", remote, "show", "toy", "--recipe"]) == 7


def test_a_remote_manifest_may_not_name_a_recipe_of_this_machine(server: Server, tmp_path: Path) -> None:
    recipe = json.dumps({"name": "one", **STAGE}).encode()
    (tmp_path / "toy.json").write_bytes(recipe)
    entry = model_entry("toy", recipe=file_entry("recipe.json", recipe, (tmp_path / "toy.json").as_uri()))
    server.files["/zoo/manifest.json"] = manifest(entry)
    assert run(["--zoo", server.url("/zoo/manifest.json"), "show", "toy", "--recipe"]) == 6


def test_recipes_that_are_damaged_or_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = json.dumps({"name": "one", **STAGE}).encode()
    assert run(["--zoo", str(zoo_with(tmp_path / "a", recipe, sha256="0" * 64)), "show", "toy", "--recipe"]) == 6
    assert run(["--zoo", str(zoo_with(tmp_path / "a", recipe, sha256="0" * 64)), "verify", "toy"]) == 6
    assert run(["--zoo", str(zoo_with(tmp_path / "b", b"{}")), "show", "toy", "--recipe"]) == 6
    zoo = zoo_with(tmp_path / "c", recipe)
    (zoo / "toy.json").unlink()
    assert run(["--zoo", str(zoo), "show", "toy", "--recipe"]) == 3
    capsys.readouterr()
    assert run(["show", "efficientnet-lite2", "--recipe"]) == 3
    assert "hint: condgen show efficientnet-lite2" in capsys.readouterr().err


def test_what_a_recipe_holds_cannot_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = json.dumps({"name": "one\x1b[2J\x9b", "model": {"\x1b": "\u202e"}}).encode()
    for form in ("text", "json"):
        assert run(["--zoo", str(zoo_with(tmp_path, recipe)), "show", "toy", "--recipe", "--format", form]) == 0
        assert not set(capsys.readouterr().out) & set("\x1b\x9b\u202e")


def test_an_older_manifest_has_no_recipes(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": SCHEMA - 1, "entries": [model_entry("toy")]}))
    assert run(["--zoo", str(tmp_path), "show", "toy"]) == 0
    assert run(["--zoo", str(tmp_path), "show", "toy", "--recipe"]) == 3


@pytest.mark.parametrize(
    "entry", [entry for entry in bundled_source().manifest.entries if entry.training.recipe], ids=lambda entry: entry.id
)
def test_the_recipe_of_a_released_model_is_that_of_its_weights(entry: Any) -> None:
    assert entry.recipe is not None
    recipe = parse_training_recipe((ZOO / entry.recipe.urls[0]).read_bytes(), entry.id)
    last = recipe.stages[-1]
    assert (recipe.document["name"], recipe.document["task"], last["decoding"]) == (entry.id, entry.task, entry.decoding)
    assert entry.architecture.name == last["model"]["architecture"]
    built = entry.architecture.config
    differing = [name for name, value in last["model"].items() if name in built and built[name] != value]
    assert [name for name in differing if name != "language_model"] == []


def released(name: str) -> TrainingRecipe:
    return parse_training_recipe((ZOO / "recipes" / f"{name}.json").read_bytes(), name)


def plain(document: str) -> dict[str, Any]:
    """A resolved recipe without its description, which says nothing about the training."""
    return {key: value for key, value in json.loads(document).items() if key != "description"}


@pytest.mark.parametrize("path", sorted((ZOO / "recipes").glob("*.json")), ids=lambda path: path.stem)
def test_a_released_recipe_can_be_trained_from_json_and_toml(path: Path) -> None:
    recipe = released(path.stem)
    assert plain(parse_stages(recipe.to_json(), "a.json").to_json()) == recipe.document
    assert plain(parse_stages(recipe.to_toml(), "a.toml").to_json()) == recipe.document


OTHERWISE = {"nmt-zh-en", "nmt-de-en-context", "nmt-de-en-everyday"}
"""Models that were not trained as their recipes are now, or have none beside that in the zoo; their cards say how."""


@pytest.mark.parametrize("name", [path.stem for path in sorted((ZOO / "recipes").glob("*.json")) if path.stem not in OTHERWISE])
def test_a_released_model_was_trained_as_its_recipe_is_now(name: str) -> None:
    assert plain(parse_stages(*find_recipe(name)).to_json()) == released(name).document
