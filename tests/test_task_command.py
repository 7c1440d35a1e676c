"""The command that the core makes of a task's spec."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.cli.commandline import build
from condgen_cli.inputs.expansion import Inputs
from condgen_cli.inputs.lines import Text, Texts
from condgen_cli.specs import OPTION_GROUPS, TaskSpec
from condgen_cli.tasks import command as task_command
from condgen_cli.tasks.command import make_command
from condgen_cli.tasks.job import Job, TaskOptions

GROUPED = [name for group in OPTION_GROUPS.values() for name in group]
EVERYWHERE = ["model", "output", "format", "device", "backend", "batch_size"]

# a plugin of two tasks, one with a model that needs no weights; and a command as version 1 had it
ECHO = """
from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import *
CONDGEN_API = "2"

@hookimpl
def condgen_register_tasks():
    return [
        TaskSpec("echo", "Says it again.", reader="plug_echo:read", details=("length",), options=("search", "attention")),
        TaskSpec("mute", "Says nothing.", reader="plug_echo:read", inputs="plug_echo:inputs", options=("attention",)),
        TaskSpec("old", "Says it in the old way.", "plug_echo:command", "plug_echo:read"),
    ]

@hookimpl
def condgen_register_models():
    return [ModelSpec("echoer", "echo", "plug_echo_model:build"), ModelSpec("oldster", "old", "plug_echo_model:build")]

def read(source):
    from condgen_cli.item import Item
    yield Item(source, source, source=source)

def inputs(words: int):
    return words

from condgen_cli.options import *
def command(text: str, model: ModelOpt = None, format: FormatOpt = None) -> None:
    "The old way."
    import typer
    from condgen_cli.inputs.lines import text_inputs
    from condgen_cli.tasks.job import TaskOptions, run_task
    raise typer.Exit(run_task("old", text_inputs([text], None), TaskOptions.of(locals())))
"""
ECHO_MODEL = """
from condgen_cli.generation import Generation
from condgen_cli.model import Predictor

class Echoer(Predictor):
    def collate(self, items):
        return [item.condition for item in items]

    def predict(self, batch):
        return [Generation(text, details={"length": [len(text)], "secret": [1]}) for text in batch]

def build(config, files):
    return Echoer()
"""


def flags(spec: TaskSpec) -> list[str]:
    """The names of a command's options and arguments, in the order of its help page."""
    return [parameter.name for parameter in build(spec, make_command(spec)).params]


def invoke(spec: TaskSpec, function: Callable[..., Any], *arguments: str) -> Any:
    """What the core makes of a task whose own parameters are a function's, run with some arguments."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(task_command, "resolve", lambda reference: function)
        command = build(spec, make_command(spec._replace(inputs="module:function")))
    return command.main(list(arguments), prog_name="condgen", standalone_mode=False)


@given(groups=st.lists(st.sampled_from([*OPTION_GROUPS, *GROUPED]), unique=True))
def test_a_command_has_the_options_that_its_task_names_and_those_of_all(groups: list[str]) -> None:
    spec = TaskSpec("task", "Does it.", reader="module:read", options=tuple(groups))
    named = [name for group in groups for name in OPTION_GROUPS.get(group, (group,))]
    assert flags(spec) == ["texts", "input", *dict.fromkeys(["model", *named, *EVERYWHERE])]


def test_every_option_is_in_a_group_or_in_all_commands() -> None:
    assert sorted([*GROUPED, *EVERYWHERE]) == sorted(option.name for option in fields(TaskOptions))


@pytest.mark.parametrize(("spec", "argument"), [({"kinds": ("photo",)}, "inputs"), ({"suffixes": (".mid",)}, "inputs")])
def test_a_task_that_names_no_parameters_takes_files_or_texts(spec: dict[str, Any], argument: str) -> None:
    assert flags(TaskSpec("task", "", reader="module:read", **spec))[:2] == [argument, "model"]


def test_a_function_gets_its_own_parameters_and_the_common_options() -> None:
    seen = []

    def inputs(options: TaskOptions, word: str, number: Annotated[int, typer.Option("--number")] = 1) -> Texts:
        seen.append((word, number, options))
        raise typer.Exit(7)

    spec = TaskSpec("task", "", reader="module:read", options=("search",), model="default")
    assert invoke(spec, inputs, "hello", "--number", "2", "--beam", "3", "--format", "json") == 7
    assert invoke(spec, inputs, "hello", "-m", "other") == 7
    assert seen == [
        ("hello", 2, TaskOptions(model="default", beam=3, format="json")),  # type: ignore[arg-type]
        ("hello", 1, TaskOptions(model="other")),
    ]


@pytest.mark.parametrize("model", [None, "named"])
def test_a_job_changes_options_and_chooses_where_no_model_is_named(monkeypatch: pytest.MonkeyPatch, model: str | None) -> None:
    ran = []
    monkeypatch.setattr(task_command, "run_task", lambda *arguments: ran.append(arguments) or 4)
    texts = Texts([Text("text-1", "hello")], several=False)

    def choose(item: object) -> str:
        return "chosen"

    def inputs(options: TaskOptions) -> Job:
        return Job(texts, replace(options, sample=True, model=model), choose)

    spec = TaskSpec("task", "", reader="module:read")
    assert invoke(spec, inputs) == 4
    assert ran == [("task", texts, TaskOptions(sample=True, model=model), None if model else choose)]


def help_page(spec: TaskSpec, capsys: pytest.CaptureFixture[str]) -> str:
    build(spec, make_command(spec)).main(["--help"], prog_name="condgen", standalone_mode=False)
    return " ".join(capsys.readouterr().out.split())


def test_the_formats_and_the_help_of_a_task_are_its_command_s(capsys: pytest.CaptureFixture[str]) -> None:
    plain = TaskSpec("task", "Does it.", reader="module:read", options=("show_attention",))
    special = plain._replace(
        formats={"srt": "module:srt"}, steps="module:steps", option_help={"show_attention": "Something else."}, model="mine"
    )
    page = help_page(special, capsys)
    assert "<text|json|jsonl|srt>" in page
    assert "--show-attention, --show-process Something else." in page
    assert "[default: mine]" in page
    page = help_page(plain, capsys)
    assert "Does it." in page
    assert "<text|json|jsonl>" in page
    assert "--show-process" not in page
    assert "Something else." not in page, "the help of one task is not another's"


def test_a_parameter_may_not_take_the_name_of_an_option() -> None:
    def inputs(beam: int) -> Inputs:
        raise AssertionError

    spec = TaskSpec("task", "", reader="module:read", options=("search",))
    with pytest.raises(TypeError, match="beam is an option that the core adds"):
        invoke(spec, inputs)
    without = TaskSpec("task", "", reader="module:read")
    with pytest.raises(AssertionError):
        invoke(without, inputs, "3")


@pytest.fixture
def echo(
    make_plugin: Callable[..., None], plugin_folder: Path, tmp_path: Path, condgen: Callable[..., Any]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``condgen`` with the plugin above, and the folder of a run of each of its models."""
    make_plugin("echo", ECHO)
    (plugin_folder / "plug_echo_model.py").write_text(ECHO_MODEL)
    for name, task in (("echoer", "echo"), ("oldster", "old")):
        (tmp_path / name).mkdir()
        description = {"architecture": {"name": name, "config": {}}, "task": task, "files": []}
        (tmp_path / name / "model.json").write_text(json.dumps(description))
    return condgen


def test_a_stranger_s_task_has_a_whole_command(echo: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = echo("echo", "hello", "you", "-m", str(tmp_path / "echoer"), "--beam", "2", "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["output"], row["length"]) for row in rows] == [("hello", [5]), ("you", [3])]
    assert "secret" not in rows[0]
    done = echo("echo", "hello")
    assert (done.returncode, done.stdout) == (2, "")
    assert "echo has no model of its own" in done.stderr


def test_what_a_task_does_not_name_is_refused(echo: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = echo("mute", "3", "--beam", "2")
    assert done.returncode == 2
    assert "--beam" in done.stderr
    done = echo("mute", "3")
    assert done.returncode == 5
    assert "plug_echo:inputs returns int, not the inputs of the command mute" in done.stderr


def test_a_command_as_version_1_had_it_still_runs(
    echo: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = echo("old", "hello", "--model", str(tmp_path / "oldster"), "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["output"] == "hello"
