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
from condgen_cli.app import run
from condgen_cli.entry_points import EntryPoint, discover
from condgen_cli.plugins import HOOKS, Plugins
from condgen_cli.testing import check_plugin

ROOT = Path(__file__).parent.parent
SHOUT = ROOT / "tests" / "thirdparty" / "condgen-shout"

HEADER = """
from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import *
CONDGEN_API = "1"
"""

# name, the plugin's source, what the one warning says, whether the whole plugin is unusable
BROKEN = {
    "imports": ("import nowhere_to_be_found", "ModuleNotFoundError", True),
    "raises": ("raise ValueError('first\\nsecond')", "ValueError: first second", True),
    "syntax": ("def (:", "SyntaxError", True),
    "exits": ("import sys; sys.exit('bye')", "sys.exit('bye')", True),
    "noapi": ("", "does not say which API", True),
    "otherapi": ("CONDGEN_API = '2'", "written for API 2, this is 1", True),
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


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_costs_one_warning_and_nothing_else(condgen, make_plugin, kind):
    source, warning, fatal = BROKEN[kind]
    make_plugin(kind, source)
    make_plugin("good", GREETING)
    done = condgen("greet")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    greeting, line = sorted(done.stderr.splitlines())
    assert greeting == "a plugin that greets"
    assert line.startswith(f"warning: plugin '{kind}': ")
    assert warning in line
    if fatal:
        done = condgen(kind)
        assert done.returncode == 5
        assert f"error: plugin '{kind}' can't be used" in done.stderr
        assert "hint: condgen plugin doctor" in done.stderr


def test_doctor_explains_every_problem_with_place_and_advice(condgen, make_plugin, plugin_folder):
    for kind, (source, _, _) in BROKEN.items():
        make_plugin(kind, source)
    done = condgen("plugin", "doctor", "--format", "json")
    assert done.returncode == 5
    report = json.loads(done.stdout)
    problems = {problem["plugin"]: problem for problem in report["problems"]}
    assert not report["ok"]
    assert set(BROKEN) <= set(problems)
    for kind, (source, message, _) in BROKEN.items():
        assert message in problems[kind]["message"]
        assert problems[kind]["advice"]
        place = problems[kind]["where"]
        assert place.startswith(str(plugin_folder / f"plug_{kind}.py"))
        if "def condgen" in source and kind not in ("keyword", "noapi"):
            assert int(place.rpartition(":")[2]) >= 4
    text = condgen("plugin", "doctor")
    assert text.returncode == 5
    assert "where: " in text.stdout
    assert "warning" not in text.stderr


def test_doctor_finds_references_that_lead_nowhere(condgen, make_plugin):
    make_plugin(
        "dangling",
        HEADER
        + """
@hookimpl
def condgen_register_tasks():
    return [TaskSpec("dangle", "", "plug_dangling:absent", "no_such_module:read")]
@hookimpl
def condgen_register_recipes():
    return [RecipeSpec("r", "dangle", "json", "absent.toml")]
""",
    )
    report = json.loads(condgen("plugin", "doctor", "--format", "json").stdout)
    messages = " ".join(problem["message"] for problem in report["problems"] if problem["plugin"] == "dangling")
    assert "plug_dangling has no absent" in messages
    assert "no module no_such_module" in messages
    assert "json holds no absent.toml" in messages


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
    make_plugin("slow", "raise KeyboardInterrupt")
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
    assert [(problem.plugin, problem.fatal) for problem in reported] == [("zeta", False)]


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
        ("CONDGEN_API = '1'", "registers nothing"),
        ("import numpy" + HEADER + "@hookimpl\ndef condgen_register_recipes(): return []", "registers nothing"),
        (HEADER + "@hookimpl\ndef condgen_register_commands(): return [CommandSpec('a', '', 'no_such:thing')]", "no_such"),
        (
            "import numpy" + HEADER + "@hookimpl\ndef condgen_register_manifests(): return [ManifestSpec('a', url='http://x')]",
            "imports numpy",
        ),
    ],
)
def test_check_plugin_finds_what_is_wrong(monkeypatch, plugin_folder, make_plugin, source, complaint, request):
    module = f"plug_{abs(hash(request.node.name))}"
    make_plugin("checked", source, module=module)
    monkeypatch.syspath_prepend(str(plugin_folder))
    monkeypatch.setenv("PYTHONPATH", str(plugin_folder))
    with pytest.raises(AssertionError, match=complaint):
        check_plugin(importlib.import_module(module))


@pytest.mark.parametrize("name", ["Shout", "my task", "-x", "1st", "a--b", "über", "eval", "../up", ""])
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
    assert "shouts" in virtualenv("condgen_cli", "data", "ls").stdout
    assert "--how-loud" in virtualenv("condgen_cli", "inspect", "--help").stdout
    listed = json.loads(virtualenv("condgen_cli", "plugin", "list", "--format", "json").stdout)["plugins"]
    (plugin,) = (plugin for plugin in listed if plugin["name"] == "shouting")
    assert (plugin["distribution"], plugin["version"], plugin["api"], plugin["status"]) == ("condgen-shout", "1.2.3", "1", "ok")
    assert plugin["registers"] == {
        "tasks": ["shout"],
        "models": ["shouter"],
        "datasets": ["shouts"],
        "metrics": ["loudness"],
        "match_functions": ["shout-distance"],
        "recipes": ["shout-recipe"],
        "experiments": ["shout-loudly"],
        "inspectors": ["how-loud"],
        "manifests": ["shouts"],
        "commands": ["whisper"],
    }
    code = dedent("""
        from pathlib import Path
        import torch
        from condgen_cli.nn import match_function
        from condgen_cli.plugins import manager
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
