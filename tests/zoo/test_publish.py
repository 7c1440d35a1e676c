"""Publishing: a run becomes an entry that the zoo serves, and what people wrote stays."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from condgen_cli.errors import IntegrityError, NotFoundError, UsageError
from condgen_cli.zoo import Entry, Zoo
from condgen_cli.zoo.publish import publish
from condgen_cli.zoo.sources import local_source
from condgen_cli.zoo.store import Store

METADATA = {"description": "a test", "licence": "Apache-2.0"}


def run_dir(folder: Path, seed: int = 0, **weights: int) -> Path:
    """A training run with a decoder of its own and further files of weights by name and seed."""
    folder.mkdir(parents=True)
    files = {"decoder": seed, **weights}
    for name, value in files.items():
        tensors = {"w": np.full((4, 4), value / 3, np.float32), "n": np.array([7], np.int64)}
        save_file(tensors, folder / f"{name}.safetensors")
    (folder / "vocabulary.json").write_text('["a"]')
    names = [*(f"{name}.safetensors" for name in files), "vocabulary.json"]
    architecture = {"name": "sat", "config": {"units": seed}}
    description = {"architecture": architecture, "task": "caption", "decoding": {"beam": 5}, "files": names, "loss": 1.5}
    (folder / "model.json").write_text(json.dumps(description))
    return folder


def served(zoo: Path, name: str, home: Path) -> tuple[Entry, dict[str, Path]]:
    catalogue = Zoo([local_source(zoo)], Store(home))
    entry = catalogue.entry(name)
    return entry, catalogue.files(entry)


def weights(zoo: Path) -> set[str]:
    return {path.name for path in (zoo / "weights").iterdir()}


def test_a_run_becomes_an_entry(tmp_path: Path, home: Path) -> None:
    zoo = tmp_path / "zoo"
    publish(run_dir(tmp_path / "run", 3), "sat", zoo, aliases=["show"], metadata=METADATA)
    entry, files = served(zoo, "show", home)
    assert entry.architecture.config == {"units": 3}
    assert entry.decoding == {"beam": 5}
    assert load_file(files["decoder.safetensors"])["w"].tolist() == [[1.0] * 4] * 4
    assert files["vocabulary.json"].read_text() == '["a"]'
    assert files["decoder.safetensors"].name == f"sat-{entry.files[0].sha256[:8]}.safetensors"
    assert not home.exists()


def test_a_new_revision_replaces_the_old_and_keeps_what_people_wrote(tmp_path: Path, home: Path) -> None:
    zoo = tmp_path / "zoo"
    results: list[dict[str, Any]] = [{"dataset": "d", "split": "test", "metric": "bleu4", "value": 23.5}]
    first = publish(run_dir(tmp_path / "a", 1), "sat", zoo, aliases=["show"], metadata={**METADATA, "results": results})
    second = publish(run_dir(tmp_path / "b", 2), "sat", zoo, metadata={"licence": "MIT"})
    entry, _ = served(zoo, "sat", home)
    assert entry == second
    assert (entry.aliases, entry.results, entry.description) == (("show",), first.results, "a test")
    assert (entry.licence, entry.architecture.config) == ("MIT", {"units": 2})
    assert entry.revision != first.revision
    assert weights(zoo) == {Path(file.urls[0]).name for file in entry.files}


def test_publishing_the_same_run_again_changes_nothing(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    run = run_dir(tmp_path / "run")
    publish(run, "sat", zoo, metadata=METADATA)
    before = (zoo / "manifest.json").read_bytes()
    publish(run, "sat", zoo)
    assert (zoo / "manifest.json").read_bytes() == before


def test_a_shared_file_is_stored_once_and_outlives_one_of_its_users(tmp_path: Path, home: Path) -> None:
    zoo = tmp_path / "zoo"
    first = publish(run_dir(tmp_path / "a", 1, encoder=9), "sat", zoo, metadata=METADATA)
    second = publish(run_dir(tmp_path / "b", 2, encoder=9), "nic", zoo, metadata=METADATA)
    assert first.files[1].urls == second.files[1].urls
    assert len(weights(zoo)) == 4  # two decoders, an encoder, a vocabulary
    publish(run_dir(tmp_path / "c", 1, encoder=8), "sat", zoo)
    _, files = served(zoo, "nic", home)
    assert load_file(files["encoder.safetensors"])["w"][0, 0] == np.float32(3)
    _, files = served(zoo, "sat", home)
    assert load_file(files["encoder.safetensors"])["w"][0, 0] == np.float32(8 / 3)


def test_half_precision(tmp_path: Path, home: Path) -> None:
    zoo = tmp_path / "zoo"
    publish(run_dir(tmp_path / "run", 1), "sat", zoo, metadata=METADATA, bits=16)
    _, files = served(zoo, "sat", home)
    tensors = load_file(files["decoder.safetensors"])
    assert (tensors["w"].dtype, tensors["n"].dtype) == (np.float16, np.int64)
    assert tensors["w"][0, 0] == np.float16(1 / 3)
    with pytest.raises(IntegrityError, match="16 bits"):
        publish(run_dir(tmp_path / "large", 10**6), "sat", zoo, bits=16)
    with pytest.raises(UsageError, match="12 bits"):
        publish(run_dir(tmp_path / "odd", 1), "sat", zoo, bits=12)


def test_what_cannot_be_published(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    run = run_dir(tmp_path / "run")
    with pytest.raises(UsageError, match="description") as failure:
        publish(run, "sat", zoo)
    assert "--metadata" in str(failure.value.hint)
    with pytest.raises(UsageError, match="unknown"):
        publish(run, "sat", zoo, metadata={**METADATA, "unknown": 1})
    with pytest.raises(UsageError, match="id"):
        publish(run, "../sat", zoo, metadata=METADATA)
    with pytest.raises(NotFoundError, match=r"no model\.json"):
        publish(tmp_path, "sat", zoo, metadata=METADATA)
    assert not zoo.exists()
    publish(run, "sat", zoo, metadata=METADATA)
    with pytest.raises(UsageError, match="two models named sat"):
        publish(run_dir(tmp_path / "other", 5), "nic", zoo, aliases=["sat"], metadata=METADATA)
    assert len(weights(zoo)) == 2
    (run / "decoder.safetensors").write_bytes(b"not one")
    with pytest.raises(IntegrityError, match="safetensors"):
        publish(run, "sat", zoo)


@pytest.mark.skipif(os.name == "nt", reason="no permissions there")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_may_be_read_by_whom_the_umask_lets(umask: int, tmp_path: Path) -> None:
    run = run_dir(tmp_path / "run")
    before = os.umask(umask)
    try:
        publish(run, "sat", tmp_path / "zoo", metadata=METADATA)
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "zoo").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


def test_what_is_no_number_is_not_published(tmp_path: Path) -> None:
    run = run_dir(tmp_path / "run")
    save_file({"w": np.array([1.0, np.nan], np.float32)}, run / "decoder.safetensors")
    with pytest.raises(IntegrityError, match=r"decoder\.safetensors: w holds a value that is no finite number"):
        publish(run, "sat", tmp_path / "zoo", metadata=METADATA)
    assert not (tmp_path / "zoo").exists()


def test_the_command(tmp_path: Path, home: Path) -> None:
    run = run_dir(tmp_path / "run")
    extra = tmp_path / "extra.toml"
    extra.write_text('description = "a test"\nlicence = "MIT"\n[training]\nrecipe = "sat"\nseed = 1\n')
    options = ["--id", "sat", "--zoo", str(tmp_path / "zoo"), "--alias", "show", "--metadata", str(extra)]
    command = [sys.executable, "-m", "condgen_cli.zoo.publish"]
    done = subprocess.run([*command, str(run), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert served(tmp_path / "zoo", "show", home)[0].training.recipe == "sat"
    failed = subprocess.run([*command, str(tmp_path), *options], capture_output=True, text=True, check=False)
    assert failed.returncode == 3
    assert failed.stderr.startswith("error: ")


def recipe(name: str, seed: int = 1, init: str | None = None, **training: Any) -> dict[str, Any]:
    return {"name": name, "task": "caption", "seed": seed, "init": init, "model": {"architecture": "sat"}, "training": training}


def with_recipe(run: Path, document: dict[str, Any]) -> Path:
    (run / "recipe.json").write_text(json.dumps(document))
    return run


def test_the_recipe_of_a_run_is_kept_beside_the_card(tmp_path: Path, home: Path) -> None:
    zoo = tmp_path / "zoo"
    run = with_recipe(run_dir(tmp_path / "run"), recipe("first", epochs=3))
    entry = publish(run, "sat", zoo, metadata=METADATA)
    assert entry.recipe
    assert (zoo / "recipes" / "sat.json").stat().st_size == entry.recipe.size
    catalogue = Zoo([local_source(zoo)], Store(home))
    assert catalogue.recipe(entry).document == recipe("first", epochs=3)
    assert [check.file.path for check in catalogue.verify(entry)][-1] == "recipe.json"
    assert publish(run, "sat", zoo) == entry
    (run / "recipe.json").unlink()
    assert publish(run, "sat", zoo).recipe is None
    assert not (zoo / "recipes" / "sat.json").exists()


def test_a_recipe_of_stages_is_kept_whole(tmp_path: Path, home: Path) -> None:
    stages = [{key: value for key, value in recipe(name).items() if key != "task"} for name in ("a", "b")]
    document = {"name": "two", "description": "d", "task": "caption", "stages": stages}
    entry = publish(with_recipe(run_dir(tmp_path / "run"), document), "sat", tmp_path / "zoo", metadata=METADATA)
    assert Zoo([local_source(tmp_path / "zoo")], Store(home)).recipe(entry).document == document


def test_runs_that_go_on_from_one_another_become_stages(tmp_path: Path, home: Path) -> None:
    zoo = tmp_path / "zoo"
    first = with_recipe(run_dir(tmp_path / "first"), recipe("Sat 1", init="encoder", epochs=8))
    second = with_recipe(run_dir(tmp_path / "second", 2), recipe("sat", init=str(first), epochs=5))
    publish(second, "sat", zoo, aliases=["show"], metadata=METADATA)
    third = with_recipe(run_dir(tmp_path / "third", 3), recipe("sat", init="show", epochs=1))
    entry = publish(third, "sat", zoo)
    kept = Zoo([local_source(zoo)], Store(home)).recipe(entry)
    assert [(stage["name"], stage["init"]) for stage in kept.stages] == [
        ("sat-1", "encoder"),
        ("sat", "stage:sat-1"),
        ("sat-2", "stage:sat"),
    ]
    assert [stage["training"]["epochs"] for stage in kept.stages] == [8, 5, 1]
    assert (kept.document["name"], kept.document["task"]) == ("sat", "caption")
    assert str(tmp_path) not in kept.to_json()


def test_a_recipe_that_names_itself_ends(tmp_path: Path) -> None:
    run = run_dir(tmp_path / "run")
    with_recipe(run, recipe("sat", init=str(run)))
    entry = publish(run, "sat", tmp_path / "zoo", metadata=METADATA)
    assert entry.recipe is not None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"stages": []}', '{"stages": [1]}', "[" * 10**5])
def test_what_is_no_recipe(content: str, tmp_path: Path) -> None:
    run = run_dir(tmp_path / "run")
    (run / "recipe.json").write_text(content)
    with pytest.raises(IntegrityError, match=r"recipe\.json"):
        publish(run, "sat", tmp_path / "zoo", metadata=METADATA)
    assert not (tmp_path / "zoo").exists()
