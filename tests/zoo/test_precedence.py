"""Which model a name means where several zoos have it: the user's, then condgen's, then those of plugins; and who says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from condgen_cli.cli.app import run
from condgen_cli.errors import CondgenError
from condgen_cli.zoo.catalogue import Zoo
from condgen_cli.zoo.sources import Source, UnreadSource, bundled_source, local_source
from condgen_cli.zoo.store import Store
from tests.conftest import Condgen, MakePlugin
from tests.zoo.conftest import Server, file_entry, manifest, model_entry, safetensors

PLUGIN = """
from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import ManifestSpec
CONDGEN_API = "2"

@hookimpl
def condgen_register_manifests():
    return [{specs}]
"""

OURS = model_entry("ours", aliases=["also"])
CLASHES = [
    pytest.param(model_entry("ours"), "ours", id="an id and an id"),
    pytest.param(model_entry("mine", aliases=["ours"]), "ours", id="an alias and an id"),
    pytest.param(model_entry("also"), "also", id="an id and an alias"),
    pytest.param(model_entry("mine", aliases=["also"]), "also", id="an alias and an alias"),
]


def folder(path: Path, *entries: dict[str, Any]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "manifest.json").write_bytes(manifest(*entries))
    return path


@pytest.mark.parametrize(("entry", "name"), CLASHES)
def test_condgen_wins_over_plugins_wherever_they_keep_their_zoo(
    tmp_path: Path, home: Path, entry: dict[str, Any], name: str, capsys: Any
) -> None:
    def read(offline: bool) -> Source:
        raise AssertionError("a server is asked for a bundled model")

    own = local_source(folder(tmp_path / "own", OURS), "bundled", "bundled")
    beside = local_source(folder(tmp_path / "zoo", entry), "evil (plugin evil)", "plugin")
    zoo = Zoo([own, beside, UnreadSource("far (plugin evil)", "plugin", True, read)], Store(home))
    assert zoo.entry(name).id == "ours"
    assert zoo.source(zoo.entry(name)) is own
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("entry", "name"), CLASHES)
def test_a_zoo_of_the_user_wins(tmp_path: Path, home: Path, entry: dict[str, Any], name: str, capsys: Any) -> None:
    own = local_source(folder(tmp_path / "own", OURS), "bundled", "bundled")
    users = local_source(folder(tmp_path / "zoo", entry))
    zoo = Zoo([users, own], Store(home))
    assert zoo.source(zoo.entry(name)) is users
    assert zoo.entry(name).id == entry["id"]
    assert capsys.readouterr().err == f"warning: {name} is the model of {users.name}, in place of that of condgen\n"


@pytest.mark.parametrize("far", [False, True], ids=["folder", "server"])
def test_a_command_tells_that_a_model_is_not_the_bundled_one(server: Server, tmp_path: Path, far: bool, capsys: Any) -> None:
    entry = model_entry("mine", aliases=["sat"])
    server.files["/zoo/manifest.json"] = manifest(entry)
    zoo = server.url("/zoo/manifest.json") if far else str(folder(tmp_path / "zoo", entry))
    assert run(["--zoo", zoo, "show", "sat", "--format", "json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["id"], document["source"]) == ("mine", zoo)
    assert captured.err == f"warning: sat is the model of {zoo}, in place of that of condgen\n"


def test_a_name_of_one_zoo_alone_is_no_matter(tmp_path: Path, capsys: Any) -> None:
    zoo = str(folder(tmp_path / "zoo", model_entry("mine")))
    assert run(["--zoo", zoo, "show", "mine"]) == 0
    assert run(["--zoo", zoo, "show", "sat"]) == 0
    assert capsys.readouterr().err == ""


def test_list_and_doctor_tell_whose_models_they_are(
    condgen: Condgen, make_plugin: MakePlugin, plugin_folder: Path, tmp_path: Path
) -> None:
    """A plugin whose zoo is called as condgen's, with an impostor, an alias that is taken, and a model of its own."""
    weights = safetensors(64)
    (plugin_folder / "evil_zoo").mkdir()
    (plugin_folder / "evil_zoo" / "__init__.py").touch()
    (plugin_folder / "evil_zoo" / "w").write_bytes(weights)
    files = file_entry("model.safetensors", weights, "w")
    folder(plugin_folder / "evil_zoo", model_entry("sat", files), model_entry("extra", files, aliases=["nic", "x2"]))
    specs = "ManifestSpec('bundled', 'evil_zoo'), ManifestSpec('none', 'nowhere_at_all')"
    make_plugin("evil", PLUGIN.format(specs=specs))

    listed = condgen("list", "--format", "json")
    models = {model["id"]: model for model in json.loads(listed.stdout)["models"]}
    assert (models["sat"]["source"], models["sat"]["state"]) == ("bundled", "bundled")
    assert (models["extra"]["source"], models["extra"]["state"]) == ("bundled (plugin evil)", "local")
    assert listed.stderr.count("warning: the zoo none (plugin evil) can't be used: ") == 1
    assert "Traceback" not in listed.stderr
    text = condgen("list").stdout
    assert [line.split()[0] for line in text.splitlines() if "bundled (plugin evil)" in line] == ["extra"]

    assert condgen("verify", "sat").stderr == ""  # a zoo that can't be used is no matter where it isn't needed

    doctor = condgen("plugin", "doctor", "--format", "json")
    assert doctor.returncode == 5
    told = [problem["message"] for problem in json.loads(doctor.stdout)["problems"] if "zoo" in problem["message"]]
    assert "the model name 'sat' of its zoo bundled (plugin evil) is taken by condgen: it is left out" in told
    assert "the model name 'nic' of its zoo bundled (plugin evil) is taken by condgen: it is left out" in told
    assert any("zoo none (plugin evil) can't be used" in message for message in told)


def test_a_zoo_that_cannot_be_read_is_told_of_where_the_name_is_found_elsewhere(
    home: Path, tmp_path: Path, capsys: Any
) -> None:
    def read(offline: bool) -> Source:
        raise CondgenError("the server is gone")

    zoo = Zoo([UnreadSource("mine", "user", True, read), bundled_source()], Store(home))
    assert zoo.source(zoo.entry("sat")).origin == "bundled"
    assert zoo.entry("sat").id == "sat"
    assert capsys.readouterr().err == "warning: the server is gone; sat is the model of condgen\n"
    with pytest.raises(CondgenError, match="the server is gone"):
        zoo.entry("nothing")
    with pytest.raises(CondgenError, match="the server is gone"):
        zoo.entries()
    assert "sat" in [entry.id for entry in zoo.entries_at_hand()]


def test_list_can_be_read_on_a_narrow_terminal(tmp_path: Path) -> None:
    from condgen_cli.render.tables import table

    columns, row = ["model", "also", "task", "size"], ["nmt-de-en", "", "translate", "3.1 MB"]
    assert table(columns, [row], color=True, width=20) == "model: nmt-de-en\ntask: translate\nsize: 3.1 MB"
    assert "nmt-de-en" in table(columns, [row], color=True, width=60)
