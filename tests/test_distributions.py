"""Installing and removing plugins: what would be overwritten or taken away, and which of two is meant."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from condgen_cli.errors import PluginError
from condgen_cli.registry import distributions
from condgen_cli.registry.distributions import check_arrivals

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"


def make_wheel(folder: Path, name: str, files: list[str], entry_points: str = "") -> Path:
    """A wheel with empty files."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.writestr(file, "")
        archive.writestr(f"{name}-1.0.dist-info/METADATA", METADATA.format(name=name))
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n")
        archive.writestr(f"{name}-1.0.dist-info/entry_points.txt", entry_points)
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def arrive(monkeypatch, tmp_path):
    """``arrive(wheel…)``: check_arrivals with wheels that pip would install, without pip."""

    def check(*wheels: Path) -> list[str]:
        def run_pip(command: str, *arguments: str, quiet: bool = False) -> None:
            if command == "wheel":
                source = next(wheel for wheel in wheels if arguments[-1].startswith(wheel.name.partition("-")[0] + " @ "))
                target = Path(arguments[arguments.index("--wheel-dir") + 1])
                target.mkdir()
                shutil.copy(source, target)
                return
            items = [
                {
                    "metadata": {"name": wheel.name.partition("-")[0], "version": "1.0"},
                    "download_info": {"url": wheel.as_uri(), "archive_info": {}},
                }
                for wheel in wheels
            ]
            Path(arguments[arguments.index("--report") + 1]).write_text(json.dumps({"install": items}))

        monkeypatch.setattr(distributions, "run_pip", run_pip)
        return check_arrivals([str(wheel) for wheel in wheels])

    return check


@pytest.mark.parametrize(
    ("files", "entry_points", "complaint"),
    [
        (["condgen_cli/__init__.py"], "", "module condgen_cli, which is condgen's own"),
        (["Condgen_CLI/extra.py"], "", "which is condgen's own"),
        (["condgen_caption.py"], "", "module condgen_caption, which is condgen's own"),
        (["odd-1.0.data/purelib/condgen_qa/x.py"], "", "module condgen_qa"),
        (["odd-1.0.data/data/lib/python3/site-packages/condgen_qa/x.py"], "", "module condgen_qa"),
        (["good_module/x.py"], "", "module good_module, which is that of good"),
        (["plug_good/x.py"], "", "module plug_good, which is that of good"),
        (["odd.py"], "[console_scripts]\ncondgen = odd:main\n", "a command condgen"),
        (["odd-1.0.data/scripts/condgen"], "", "a command condgen"),
    ],
)
def test_what_would_be_overwritten_is_refused(
    arrive, monkeypatch, plugin_folder, make_plugin, tmp_path, files, entry_points, complaint
):
    make_plugin("good", "")
    (plugin_folder / "good-1.0.dist-info" / "RECORD").write_text("plug_good.py,,\ngood_module/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(plugin_folder))
    with pytest.raises(PluginError, match=complaint):
        arrive(make_wheel(tmp_path, "odd", files, entry_points))


def test_condgen_itself_is_not_replaced_by_the_way(arrive, tmp_path):
    with pytest.raises(PluginError, match="condgen itself would be replaced"):
        arrive(make_wheel(tmp_path, "odd", ["odd.py"]), make_wheel(tmp_path, "condgen", []))


def test_two_plugins_that_come_together_have_modules_of_their_own(arrive, tmp_path):
    entry_points = "[condgen]\nsame = same\n"
    wheels = [make_wheel(tmp_path, name, ["same.py"], entry_points) for name in ("one", "two")]
    with pytest.raises(PluginError, match=r"two 1\.0 contains a module same, which is that of one"):
        arrive(*wheels)


def test_what_overwrites_nothing_may_come(arrive, monkeypatch, plugin_folder, make_plugin, tmp_path):
    make_plugin("good", "")
    monkeypatch.syspath_prepend(str(plugin_folder))
    wheels = [
        make_wheel(tmp_path, "odd", ["odd/__init__.py", "odd/condgen_cli/x.py"], "[console_scripts]\nodd = odd:main\n"),
        make_wheel(tmp_path, "good", ["plug_good.py"]),  # an upgrade
    ]
    assert arrive(*wheels) == ["odd", "good"]
    assert arrive() == []


def test_install_refuses_before_anything_is_installed(condgen, tmp_path):
    wheel = make_wheel(tmp_path, "condgen_odd", ["condgen_caption/__init__.py"], "[condgen]\nodd = condgen_caption\n")
    done = condgen("plugin", "install", str(wheel), "--", "--no-index", "--no-deps", "--target", str(tmp_path / "target"))
    assert (done.returncode, done.stdout) == (5, "")
    assert "error: nothing was installed: condgen-odd 1.0 contains a module condgen_caption" in done.stderr
    assert not (tmp_path / "target").exists()


@pytest.fixture
def twins(plugin_folder, make_plugin):
    """Two distributions that bring a plugin of one name."""
    for name in ("one", "two"):
        make_plugin(f"condgen_{name}", f"CONDGEN_API = '{2 if name == 'one' else 3}'")
        (plugin_folder / f"condgen_{name}-1.0.dist-info" / "entry_points.txt").write_text(
            f"[condgen]\nsame = plug_condgen_{name}\n"
        )


@pytest.mark.usefixtures("twins")
def test_plugins_of_one_name_are_told_apart(condgen):
    listed = json.loads(condgen("plugin", "list", "--format", "json").stdout)["plugins"]
    found = {plugin["distribution"]: plugin["status"] for plugin in listed if plugin["name"] == "same"}
    assert found == {"condgen-one": "ok", "condgen-two": "broken"}
    assert (
        "warning: plugin 'same' of condgen-two: it was written for API 3"
        in condgen("list", "--help").stderr + condgen("greet").stderr
    )
    done = condgen("plugin", "uninstall", "same")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: condgen-one and condgen-two each provide a plugin 'same': name one of them" in done.stderr
    assert "hint: condgen plugin uninstall condgen-one or condgen plugin uninstall condgen-two" in done.stderr


@pytest.mark.usefixtures("twins")
def test_uninstalling_names_are_as_pip_takes_them_and_nothing_removed_is_an_error(condgen):
    done = condgen("plugin", "uninstall", "Condgen_ONE")  # which lies where pip removes nothing
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: condgen-one could not be removed" in done.stderr


def test_what_has_overwritten_condgen_is_not_removed_with_it(condgen, plugin_folder, make_plugin):
    make_plugin("odd", "")
    (plugin_folder / "odd-1.0.dist-info" / "RECORD").write_text("plug_odd.py,,\ncondgen_caption/__init__.py,,\n")
    done = condgen("plugin", "uninstall", "odd")
    assert (done.returncode, done.stdout) == (5, "")
    assert "odd has overwritten condgen's own condgen_caption" in done.stderr
