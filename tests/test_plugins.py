"""Plugins: finding them, keeping the broken ones apart, writing and installing one."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli import hookspecs
from condgen_cli.cli.app import run
from condgen_cli.registry.entry_points import EntryPoint, discover
from condgen_cli.registry.plugins import HOOKS, Plugins
from condgen_cli.testing import check_plugin

ROOT = Path(__file__).parent.parent
SHOUT = ROOT / "tests" / "thirdparty" / "condgen-shout"

HEADER = """
from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import *
CONDGEN_API = "2"
"""

# name, the plugin's source, what the one warning says, whether the whole plugin is unusable
BROKEN = {
    "imports": ("import nowhere_to_be_found", "ModuleNotFoundError", True),
    "moved": ("from condgen_cli.tasks import run_task", "ImportError", True),
    "raises": ("raise ValueError('first\\nsecond')", "ValueError: first second", True),
    "syntax": ("def (:", "SyntaxError", True),
    "exits": ("import sys; sys.exit('bye')", "sys.exit('bye')", True),
    "noapi": ("", "does not say which API", True),
    "otherapi": ("CONDGEN_API = '3'", "written for API 3, this is 2", True),
    "olderapi": (
        "CONDGEN_API = '1'",
        "written for API 1, this is 2, in which models and metrics derive from base classes",
        False,
    ),
    "unknownhook": (HEADER + "@hookimpl\ndef condgen_register_tusks(): return []", "no hook condgen_register_tusks", True),
    "unmarked": (HEADER + "def condgen_register_tasks(): return []", "not marked as a hook", True),
    "signature": (HEADER + "@hookimpl\ndef condgen_register_tasks(config): return []", "wrong signature", True),
    "keyword": (HEADER + "@hookimpl\ndef condgen_register_tasks(*, config): return []", "TypeError", False),
    "hookraises": (HEADER + "@hookimpl\ndef condgen_register_tasks(): 1 / 0", "ZeroDivisionError", False),
    "hookexits": (HEADER + "@hookimpl\ndef condgen_register_tasks(): raise SystemExit(3)", "sys.exit(3)", False),
    "rubbish": (HEADER + "@hookimpl\ndef condgen_register_tasks(): return 'tasks'", "not return a list of TaskSpec", False),
    "nothing": (HEADER + "@hookimpl\ndef condgen_register_tasks(): return None", "not return a list of TaskSpec", False),
    "otherspec": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [RecipeSpec('a', 'b', 'c', 'd')]",
        "not return a list of TaskSpec",
        False,
    ),
    "badname": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('a b', '', 'c:d', 'e:f')]",
        "'a b' is not a name",
        False,
    ),
    "notastring": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('a', 'b', print, 'e:f')]",
        "command of 'a' is not a string",
        False,
    ),
    "letters": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('a', 'b', 'c:d', 'e:f', 'cer')]",
        "metrics of 'a' is not a tuple, each member a string: 'cer'; write ('cer',)",
        False,
    ),
    "nodetails": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('a', 'b', 'c:d', 'e:f', details=None)]",
        "details of 'a' is not a tuple, each member a string: None",
        False,
    ),
    "olddetails": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('a', 'b', 'c:d', 'e:f', details={'words': 'g:h'})]",
        "details of 'a' are names since API 2",
        False,
    ),
    "nosuchoption": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('a', 'b', reader='e:f', options=['serch'])]",
        "options of 'a': there is no option or group 'serch'",
        False,
    ),
    "nohelp": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('a', 'b', reader='e:f', option_help={'beam': ''})]",
        "option_help of 'a': it has no option 'beam'",
        False,
    ),
    "twocommands": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('a', 'b', 'c:d', 'e:f', options=['search'])]",
        "'a' has its own command, so options has no effect",
        False,
    ),
    "noreference": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('a', 'b', 'c.d', 'e:f')]",
        "command of 'a' is not of the form module:attribute: 'c.d'",
        False,
    ),
    "lines": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('a', 'b\\nTasks:', 'c:d', 'e:f')]",
        "help of 'a' is not one line",
        False,
    ),
    "numberedapi": ("CONDGEN_API = 2", "CONDGEN_API is 2, which is not a string", True),
    "interrupts": ("raise KeyboardInterrupt", "it raised KeyboardInterrupt", True),
    "leaves": ("import os\nos._exit(0)", "os._exit(0)", True),
    "speechless": ("class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute", "import failed: Mute", True),
    "otherthing": ("import sys\nsys.modules[__name__] = 3", "something else than a module", True),
    "moves": ("import os, sys\nos.chdir('/')\nsys.stderr = None", "does not say which API", True),
    "evasive": ("def __getattr__(name): raise ValueError(name)", "ValueError: CONDGEN_API", True),
    "takescore": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('eval', 'b', 'c:d', 'e:f')]",
        "the task 'eval' is taken",
        False,
    ),
    "takestask": (
        HEADER + "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('caption', 'b', 'c:d', 'e:f')]",
        "the task 'caption' is taken",
        False,
    ),
}


def hook(kind, spec):
    return f"{HEADER}@hookimpl\ndef condgen_register_{kind}(): return [{spec}]\n"


def task(arguments):
    return hook("tasks", f"TaskSpec({arguments})")


GREETING = (
    HEADER
    + """
print("a plugin that greets")

@hookimpl
def condgen_register_tasks():
    return [TaskSpec("greet", "Says hello.", "plug_good:greet", "plug_good:greet")]

def greet() -> None:
    print("hello")
"""
)

# name, the plugin's source, what the doctor finds in its parts
FAULTY = {
    "reader": (
        task("'reader', '', 'plug_reader:command', 'plug_reader:read'") + "def read(): return []\ndef command() -> None: pass",
        "reader of task reader: plug_reader:read can't be called with (source)",
    ),
    "command": (
        task("'command', '', 'plug_command:command', 'plug_command:read'")
        + "def read(source): return []\ndef command(x: 'Nowhere') -> None: pass",
        "command of task command: plug_command:command fails",
    ),
    "inputs": (
        task("'inputs', '', reader='plug_inputs:read', inputs='plug_inputs:inputs', options=('search',)")
        + "def read(source): return []\ndef inputs(beam: int): pass",
        "inputs of task inputs: plug_inputs:inputs fails: TypeError: the parameter beam is an option that the core adds",
    ),
    "absent": (task("'absent', '', 'plug_absent:absent', 'no_such_module:read'"), "plug_absent has no absent"),
    "module": (task("'module', '', 'plug_absent:absent', 'no_such_module:read'"), "cannot import no_such_module"),
    "needs": (
        task("'needs', '', 'plug_needs:command', 'plug_needs:read'")
        + "def read(source): return []\ndef command() -> None:\n    import no_such_dependency",
        "plug_needs imports no_such_dependency, which is not installed",
    ),
    "helper": (task("'helper', '', 'helper_of_plugin:command', 'helper_of_plugin:read'"), "ZeroDivisionError"),
    "numpy": (
        "import numpy\n" + hook("models", "ModelSpec('d', 'caption', 'plug_numpy:build')") + "def build(config, files): pass",
        "importing plug_numpy imports numpy",
    ),
    "nowhere": (
        hook("models", "ModelSpec('d', 'captoin', 'plug_nowhere:build')") + "def build(config, files): pass",
        "model d is for the task 'captoin', which no plugin provides",
    ),
    "score": (
        hook("datasets", "DatasetSpec('d', 'caption', '', 'plug_score:read', metrics=('bleurgh',))")
        + "def read(root, split): return []",
        "there is no metric 'bleurgh'",
    ),
    "options": (
        hook("datasets", "DatasetSpec('d', 'caption', '', 'plug_options:read', options=None)"),
        "options of 'd' is not a mapping",
    ),
    "splits": (
        hook("datasets", "DatasetSpec('d', 'caption', '', 'plug_splits:read', splits=('test'))"),
        "splits of 'd' is not a tuple",
    ),
    "settings": (
        hook("datasets", "DatasetSpec('d', 'caption', '', 'plug_settings:read', options={'mood': Option('')})")
        + "def read(root, split): return []",
        "can't be called with (root, split, mood=…)",
    ),
    "keys": (hook("metrics", "MetricSpec('loudness', 'plug_keys:Metric')"), "keys of metric 'loudness' is not a tuple"),
    "metric": (
        hook("metrics", "MetricSpec(('d',), 'plug_metric:build')")
        + "def build():\n    from condgen_cli.metrics.exact import Accuracy\n    return Accuracy()",
        "has no score 'd'",
    ),
    "ducktyped": (
        hook("metrics", "MetricSpec(('d',), 'plug_ducktyped:Metric')") + "class Metric:\n    keys = ('d',)",
        "plug_ducktyped:Metric is not derived from condgen_cli.metrics.Metric",
    ),
    "incomplete": (
        hook("metrics", "MetricSpec(('d',), 'plug_incomplete:Half')")
        + "from condgen_cli.metrics import Metric\nclass Half(Metric):\n    keys = ('d',)",
        "Can't instantiate abstract class Half",
    ),
    "recipe": (hook("recipes", "RecipeSpec('r', 'caption', 'json', 'absent.toml')"), "json holds no absent.toml"),
    "single": (hook("manifests", "ManifestSpec('one', 'plug_single')"), "cannot open the package plug_single"),
    "empty": (hook("manifests", "ManifestSpec('two', 'package_without_init')"), "package_without_init/manifest.json"),
    "explodes": (hook("manifests", "ManifestSpec('three', 'package_that_raises')"), "ZeroDivisionError"),
    "flag": (
        hook("inspectors", "InspectorSpec('device', 'caption', 'plug_flag:run')"),
        "is an option that inspect has already",
    ),
    "made": (
        hook("datasets", "DatasetSpec('made', 'caption', '', 'plug_made:read', generated=True)")
        + "def read(root, split): return ['text']",
        "plug_made:read yields str, not condgen_cli.item.Item",
    ),
    "digest": (
        hook(
            "datasets", "DatasetSpec('g', 'caption', '', 'plug_digest:read', archives=(Archive('../a', ('b:',), sha256='0'),))"
        )
        + "def read(root, split): return []",
        "sha256 has to be 64 hexadecimal digits",
    ),
    "thread": (
        "import threading\nthreading.Thread(target=threading.main_thread().join, name='lasting').start()\n" + HEADER,
        "delays the end of every command: lasting",
    ),
    "address": (hook("manifests", "ManifestSpec('four', url='nonsense')"), "url of 'four' is no URL: 'nonsense'"),
    "idle": (HEADER, "plug_idle registers nothing"),
    "aborts": ("import os\nos.abort()", "its import ends the process, with signal 6"),
}


@pytest.fixture
def faulty(make_plugin, plugin_folder):
    """Every plugin of FAULTY but those that are felt in the process, and what they need."""
    for kind, (source, _) in FAULTY.items():
        if kind in ("thread", "aborts"):
            continue
        make_plugin(kind, source)
    (plugin_folder / "package_without_init").mkdir()
    (plugin_folder / "package_that_raises").mkdir()
    (plugin_folder / "package_that_raises" / "__init__.py").write_text("1 / 0")
    (plugin_folder / "helper_of_plugin.py").write_text("\n1 / 0")


def test_broken_plugins_cost_one_warning_each_and_nothing_else(condgen, make_plugin):
    for kind, (source, _, _) in BROKEN.items():
        make_plugin(kind, source)
    noise = "import ctypes, os\nos.write(1, b'written')\nctypes.CDLL(None).printf(b'printed')\n" if os.name == "posix" else ""
    make_plugin("good", noise + GREETING)
    done = condgen("greet")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "a plugin that greets" in done.stderr
    for kind, (_, warning, _) in BROKEN.items():
        (line,) = (line for line in warnings if line.startswith(f"warning: plugin '{kind}': "))
        assert warning in line
    assert len(warnings) == len(BROKEN)
    for kind, (_, _, fatal) in BROKEN.items():
        if fatal and kind in ("raises", "leaves", "noapi"):
            done = condgen(kind)
            assert done.returncode == 5
            assert f"error: plugin '{kind}' can't be used" in done.stderr
            assert "hint: condgen plugin doctor" in done.stderr


@pytest.mark.parametrize("kind", BROKEN)
def test_a_problem_has_a_place_and_advice(monkeypatch, plugin_folder, make_plugin, kind):
    source, message, fatal = BROKEN[kind]
    make_plugin(kind, source, module=f"plug_placed_{kind}")
    monkeypatch.syspath_prepend(str(plugin_folder))
    built_in = [entry for entry in discover("condgen") if entry.distribution == "condgen"]
    plugins = Plugins([*built_in, *discover("condgen", [str(plugin_folder)])])
    plugins.all()
    (problem,) = plugins.problems
    assert message in problem.message
    assert (problem.plugin, problem.distribution, problem.fatal) == (kind, kind, fatal)
    assert problem.advice
    if kind == "otherthing":
        return
    assert problem.location.startswith(str(plugin_folder / f"plug_placed_{kind}.py"))
    if "def condgen" in source and kind != "keyword":
        assert int(problem.location.rpartition(":")[2]) >= 4


@pytest.mark.usefixtures("faulty")
def test_doctor_finds_what_only_use_would_show(condgen, make_plugin, plugin_folder):
    for kind in ("thread", "aborts"):
        make_plugin(kind, FAULTY[kind][0])
    done = condgen("plugin", "doctor", "--format", "json")
    assert done.returncode == 5
    report = json.loads(done.stdout)
    assert not report["ok"]
    found = {kind: [one for one in report["problems"] if one["plugin"] == kind] for kind in FAULTY}
    for kind, (_, message) in FAULTY.items():
        assert any(message in one["message"] for one in found[kind]), (kind, found[kind])
        assert all(one["advice"] for one in found[kind])
    # the file at fault, not the one that names it
    assert found["helper"][0]["where"] == f"{plugin_folder / 'helper_of_plugin.py'}:2"
    assert "warning" not in done.stderr


@pytest.mark.usefixtures("faulty")
def test_faulty_parts_cost_the_commands_that_need_none_nothing(condgen):
    done = condgen("list", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert "sat" in {model["id"] for model in json.loads(done.stdout)["models"]}
    assert "cannot open the package plug_single" in done.stderr
    assert condgen("inspect", "--help").returncode == 0
    assert condgen("data", "ls").returncode == 0


def test_the_doctor_prints_problems_and_where_they_are(condgen, make_plugin, plugin_folder):
    make_plugin("raises", BROKEN["raises"][0])
    done = condgen("plugin", "doctor")
    assert done.returncode == 5
    problem, where, advice = done.stdout.splitlines()
    assert problem == "raises (raises): its import failed: ValueError: first second"
    assert where == f"    where: {plugin_folder / 'plug_raises.py'}:1"
    assert advice.startswith("    do: ")
    assert "warning" not in done.stderr


def test_what_a_plugin_lacks_as_it_runs_is_told_as_its_error(condgen, make_plugin):
    make_plugin("needs", FAULTY["needs"][0])
    make_plugin("command", FAULTY["command"][0])
    for name, message in {
        "needs": "plugin 'needs': ModuleNotFoundError: No module named 'no_such_dependency'",
        "command": "the command command can't be made from plug_command:command",
    }.items():
        done = condgen(name)
        assert (done.returncode, done.stdout) == (5, "")
        assert f"error: {message}" in done.stderr


def test_the_command_of_a_plugin_whose_module_fails_exits_5(condgen, make_plugin):
    spec = "@hookimpl\ndef condgen_register_tasks(): return [TaskSpec('lost', 'Fails.', 'nowhere_at_all:run', 'a:b')]"
    make_plugin("lost", HEADER + spec)
    done = condgen("lost")
    assert (done.returncode, done.stdout) == (5, "")
    assert "cannot import nowhere_at_all" in done.stderr
    assert "  lost " in condgen("--help").stdout


def test_an_unknown_command_mentions_broken_plugins(condgen, make_plugin):
    make_plugin("broken", "1 / 0")
    done = condgen("its-task")
    assert done.returncode == 2
    assert "condgen plugin doctor" in done.stderr


def test_a_broken_plugin_does_not_show_in_the_version(condgen, make_plugin):
    make_plugin("broken", "1 / 0")
    assert condgen("--version").stderr == ""


def test_no_plugins_keeps_the_built_in_ones(condgen, make_plugin):
    make_plugin("good", GREETING)
    make_plugin("broken", "1 / 0")
    done = condgen("--no-plugins", "--help")
    assert done.stderr == ""
    assert "  caption " in done.stdout
    assert "greet" not in done.stdout
    assert condgen("--no-plugins", "greet").returncode == 2


def test_an_interruption_while_a_plugin_loads_is_not_swallowed(condgen, make_plugin):
    make_plugin("slow", "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)")
    assert condgen("--help").returncode == 130


def test_the_first_plugin_keeps_a_name(monkeypatch, plugin_folder, make_plugin):
    source = "@hookimpl\ndef condgen_register_recipes(): return [RecipeSpec('mine', 'caption', 'p', '{}.toml')]"
    make_plugin("zeta", HEADER + source.format("zeta"), module="plug_zeta_twice")
    make_plugin("alpha", HEADER + source.format("alpha"), module="plug_alpha_twice")
    monkeypatch.syspath_prepend(str(plugin_folder))
    reported = []
    plugins = Plugins(discover("condgen", [str(plugin_folder)]), reported.append)
    assert reported == []
    assert plugins.recipes["mine"].file == "alpha.toml"
    (problem,) = reported
    assert (problem.plugin, problem.fatal) == ("zeta", False)
    assert "is taken already, by plugin 'alpha' of alpha" in problem.message


def test_hooks_are_called_when_needed_and_once(monkeypatch, plugin_folder, make_plugin):
    make_plugin(
        "counting",
        HEADER
        + """
calls = []
@hookimpl
def condgen_register_tasks():
    calls.append("tasks")
    return []
@hookimpl
def condgen_register_models():
    calls.append("models")
    return []
""",
    )
    monkeypatch.syspath_prepend(str(plugin_folder))
    plugins = Plugins([EntryPoint("counting", "plug_counting", "counting", "1.0")])
    calls = importlib.import_module("plug_counting").calls
    assert calls == []
    assert dict(plugins.tasks) == dict(plugins.tasks)
    assert calls == ["tasks"]


@pytest.mark.parametrize("value", ["plug_good:attribute", "not a module", ".relative", ""])
def test_an_entry_point_names_a_module(value):
    plugins = Plugins([EntryPoint("odd", value, "odd", "1.0")])
    (problem,) = plugins.problems
    assert "must name a module" in problem.message


def test_one_module_is_one_plugin(monkeypatch, plugin_folder, make_plugin):
    make_plugin("good", GREETING)
    monkeypatch.syspath_prepend(str(plugin_folder))
    plugins = Plugins([EntryPoint(name, "plug_good", "good", "1.0") for name in ("one", "two")])
    assert [problem.plugin for problem in plugins.problems] == ["two"]
    assert "greet" in plugins.tasks


names = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True)


@given(
    distributions=st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,6}", fullmatch=True),
        st.dictionaries(names, st.from_regex(r"[a-z_]{1,8}(\.[a-z_]{1,8})?", fullmatch=True), max_size=3),
        max_size=4,
    ),
    layout=st.sampled_from(
        ["[condgen]\n{}", "# comment\n[other]\na = b\n\n[condgen]\n{}\n[last]\nc = d", "[condgen]\r\n{}\r\n"]
    ),
)
def test_entry_points_are_those_that_importlib_finds(tmp_path_factory, distributions, layout):
    folder = tmp_path_factory.mktemp("path")
    for distribution, entries in distributions.items():
        metadata = folder / f"{distribution}-2.0.dist-info"
        metadata.mkdir(exist_ok=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in entries.items())
        (metadata / "entry_points.txt").write_text(layout.format(lines))
    expected = set()
    seen = set()
    for distribution in sorted(importlib.metadata.distributions(path=[str(folder)]), key=lambda d: d.metadata["Name"]):
        normal = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        if normal not in seen:
            seen.add(normal)
            found = distribution.entry_points.select(group="condgen")
            expected |= {(entry.name, entry.value, normal, distribution.version) for entry in found}
    assert {tuple(entry) for entry in discover("condgen", [str(folder)])} == expected


@pytest.mark.parametrize(
    ("folders", "version"),
    [
        ({"odd-9.0": True, "odd-10.0": True}, "10.0"),
        ({"odd-2.0": True, "odd-2.0rc1": True}, "2.0"),
        ({"odd-3.0": False, "Odd-2.0": True}, "2.0"),
        ({"odd-garbled": True, "odd-1.0": True}, "1.0"),
    ],
)
def test_of_what_an_interrupted_upgrade_left_the_newest_counts(tmp_path, folders, version):
    for name, whole in folders.items():
        metadata = tmp_path / f"{name}.dist-info"
        metadata.mkdir()
        (metadata / "entry_points.txt").write_text(f"[condgen]\nodd = odd_{name.partition('-')[2].replace('.', '_')}\n")
        if whole:
            (metadata / "METADATA").write_text("Metadata-Version: 2.1\n")
    (entry,) = discover("condgen", [str(tmp_path)])
    assert (entry.version, entry.value) == (version, f"odd_{version.replace('.', '_')}")


def test_entry_points_of_what_is_not_a_folder_are_none(tmp_path):
    (tmp_path / "file.zip").write_bytes(b"")
    (tmp_path / "~ondgen-1.0.dist-info").mkdir()
    (tmp_path / "empty-1.0.dist-info").mkdir()
    assert discover("condgen", [str(tmp_path / "absent"), str(tmp_path / "file.zip"), str(tmp_path)]) == []


def test_the_built_in_plugin_keeps_the_contract():
    check_plugin(importlib.import_module("condgen_caption"))


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("CONDGEN_API = '2'", "registers nothing"),
        ("import numpy" + HEADER + "@hookimpl\ndef condgen_register_recipes(): return []", "registers nothing"),
        (HEADER + "@hookimpl\ndef condgen_register_commands(): return [CommandSpec('a', '', 'no_such:thing')]", "no_such"),
        (
            "import numpy" + HEADER + "@hookimpl\ndef condgen_register_manifests(): return [ManifestSpec('a', url='http://x')]",
            "imports numpy",
        ),
        (hook("models", "ModelSpec('d', 'nowhere', 'json:loads')"), "task 'nowhere', which no plugin provides"),
        (hook("models", "ModelSpec('d', 'caption', 'json:absent')"), "json has no absent"),
        (hook("metrics", "MetricSpec('d', 'json:loads')"), "keys of metric 'd' is not a tuple"),
    ],
)
def test_check_plugin_finds_what_is_wrong(monkeypatch, plugin_folder, make_plugin, source, complaint, request):
    module = f"plug_{abs(hash(request.node.name))}"
    make_plugin("checked", source, module=module)
    monkeypatch.syspath_prepend(str(plugin_folder))
    monkeypatch.setenv("PYTHONPATH", str(plugin_folder))
    with pytest.raises(AssertionError, match=complaint):
        check_plugin(importlib.import_module(module))


BAD_NAMES = ["Shout", "my task", "-x", "1st", "a--b", "über", "eval", "../up", "", "my_task", "class"]
TAKEN_NAMES = ["cli", "caption", "core", "test", "tests", "condgen", "sat", "image", "wer", "influence"]


@pytest.mark.parametrize("name", BAD_NAMES + TAKEN_NAMES)
def test_new_refuses_bad_names(capsys, tmp_path, name):
    assert run(["plugin", "new", "--path", str(tmp_path / "new"), "--", name]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "new").exists()


def test_new_leaves_an_existing_folder_alone(capsys, tmp_path):
    (tmp_path / "condgen-mine").mkdir()
    assert run(["plugin", "new", "mine", "--path", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert list((tmp_path / "condgen-mine").iterdir()) == []


@pytest.fixture(scope="module")
def virtualenv(tmp_path_factory):
    """A fresh virtualenv that sees what is installed beside the tests, pip included."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", query], capture_output=True, text=True, check=True).stdout.strip())
    lines = [
        f"import site; site.addsitedir({path!r})" for path in sys.path if path.endswith(("site-packages", "dist-packages"))
    ]
    (site / "shared.pth").write_text("\n".join(lines) + "\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("CONDGEN_", "PIP_", "PYTHONPATH"))}

    def run_module(*arguments, cwd=folder):
        return subprocess.run([python, "-m", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)

    return run_module


def test_a_stranger_s_plugin_is_installed_used_and_removed(virtualenv, tmp_path):
    source = shutil.copytree(SHOUT, tmp_path / "condgen-shout", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    done = virtualenv(
        "condgen_cli", "plugin", "install", str(source), "--", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "shouting  condgen-shout 1.2.3\n"

    assert virtualenv("condgen_cli", "shout", "hello", "you").stdout == "HELLO YOU\n"
    assert virtualenv("condgen_cli", "whisper", "quietly", "HELLO").stdout == "hello\n"
    assert virtualenv("condgen_cli", "plugin", "doctor").stdout == "10 plugins, no problems\n"
    assert "shouts" in virtualenv("condgen_cli", "data", "ls").stdout
    pulled = virtualenv("condgen_cli", "pull", "shelf:shouter")
    assert (pulled.returncode, pulled.stdout) == (0, "shelf:shouter: installed, verified\n"), pulled.stderr
    assert "shelf:shouter" in virtualenv("condgen_cli", "list").stdout
    assert virtualenv("condgen_cli", "rm", "shelf:shouter").returncode == 0
    assert "--how-loud" in virtualenv("condgen_cli", "inspect", "--help").stdout
    listed = json.loads(virtualenv("condgen_cli", "plugin", "list", "--format", "json").stdout)["plugins"]
    (plugin,) = (plugin for plugin in listed if plugin["name"] == "shouting")
    assert (plugin["distribution"], plugin["version"], plugin["api"], plugin["status"]) == ("condgen-shout", "1.2.3", "2", "ok")
    assert plugin["registers"] == {
        "tasks": ["shout"],
        "models": ["shouter"],
        "model_sources": ["shelf"],
        "datasets": ["shouts"],
        "metrics": ["loudness"],
        "match_functions": ["shout-distance"],
        "recipes": ["shout-recipe"],
        "comparisons": ["shout-loudly"],
        "inspectors": ["how-loud"],
        "manifests": ["shouts"],
        "commands": ["whisper"],
    }
    code = dedent("""
        from pathlib import Path
        import torch
        from condgen_cli.nn import match_function
        from condgen_cli.registry.plugins import manager
        from condgen_cli.specs import resolve
        from condgen_cli.testing import check_match_function, check_plugin
        import condgen_shout
        check_plugin(condgen_shout)
        check_match_function(resolve(manager().match_functions["shout-distance"].build))
        match = match_function("shout-distance", 4, 4, 4)
        print(tuple(match(torch.zeros(1, 2, 4), match.keys(torch.zeros(1, 3, 4))).shape))
        print([item.id for item in resolve(manager().datasets["shouts"].open)(Path(), "test", mood="angry")])
    """)
    (tmp_path / "use.py").write_text(code)
    done = virtualenv("use", cwd=tmp_path)
    assert done.stdout == "(1, 2, 3)\n['enough']\n", done.stderr

    done = virtualenv("condgen_cli", "plugin", "uninstall", "shouting")
    assert (done.returncode, done.stdout) == (0, "shouting  condgen-shout 1.2.3\n"), done.stderr
    assert virtualenv("condgen_cli", "shout", "hello").returncode == 2


def test_a_new_plugin_installs_and_passes_its_own_tests(virtualenv, tmp_path):
    done = virtualenv("condgen_cli", "plugin", "new", "my-echo", "--path", str(tmp_path))
    assert done.returncode == 0, done.stderr
    package = Path(done.stdout.strip())
    assert not [path for path in package.rglob("*") if "example" in path.name]
    done = virtualenv("condgen_cli", "plugin", "install", str(package), "--", "--no-deps", "--no-build-isolation", "--no-index")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "my-echo  condgen-my-echo 0.1.0\n"
    done = virtualenv("pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=package)
    assert done.returncode == 0, done.stdout


def test_install_tells_when_pip_fails_or_is_missing(condgen, condgen_env, plugin_folder, tmp_path):
    done = condgen("plugin", "install", str(tmp_path / "absent"), "--", "--no-index")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: pip install failed with exit code 1" in done.stderr
    (plugin_folder / "sitecustomize.py").write_text("import sys; sys.modules['pip'] = None")
    done = condgen("plugin", "install", "anything")
    assert done.returncode == 1
    assert "has no pip" in done.stderr
    assert "ensurepip" in done.stderr


def test_uninstall_knows_plugins_alone(condgen, make_plugin):
    make_plugin("good", GREETING)
    for name in ("torch", "caption"):
        done = condgen("plugin", "uninstall", name)
        assert done.returncode == 3
        assert "installed: good" in done.stderr


@pytest.mark.parametrize("hook", [name for name in vars(hookspecs) if name.startswith("condgen_register_")])
def test_every_hook_is_documented_and_tested(hook):
    assert hook in HOOKS
    documentation = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert f"`{hook}`" in documentation, "describe it in docs/plugins.md"
    assert f"def {hook}(" in documentation, "give an example in docs/plugins.md"
    assert f"def {hook}(" in (SHOUT / "condgen_shout" / "__init__.py").read_text(encoding="utf-8"), "use it in tests/thirdparty"


def test_imports_of_version_1_are_told_their_new_place(condgen, make_plugin):
    make_plugin("older", "import condgen_cli.runner")
    make_plugin("old", "from condgen_cli.tasks import run_task")
    told = condgen("plugin", "doctor").stdout
    assert "import it from condgen_cli.running.runner, where it is in API 2" in told
    assert "import it from condgen_cli.tasks.job, where it is in API 2" in told
