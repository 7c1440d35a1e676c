"""The command line as a whole: help, exit codes, what goes where."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from condgen_cli import __version__
from condgen_cli.cli.app import run
from condgen_cli.registry.core_commands import CORE
from condgen_cli.terminal import console

HEAVY = {"torch", "numpy", "pydantic", "rich", "PIL", "matplotlib", "pandas"}

RAISING = """
    from condgen_cli import errors, settings
    from condgen_cli.hookspecs import hookimpl
    from condgen_cli.specs import CommandSpec

    CONDGEN_API = "2"

    @hookimpl
    def condgen_register_commands():
        return [CommandSpec("boom", "Fails as told.", "plug_boom:boom"), CommandSpec("say", "Prints.", "plug_boom:say")]

    def boom(kind: str, format: str = "text") -> None:
        '''Fails as told.'''
        if kind == "unexpected":
            raise ValueError("two\\nlines")
        if kind == "interrupt":
            raise KeyboardInterrupt
        if kind == "exit":
            import typer
            raise typer.Exit(9)
        raise getattr(errors, kind)("it broke", "mend it")

    def say(what: str) -> None:
        '''Prints.'''
        if what == "much":
            for number in range(10**6):
                print(number)
        print(getattr(settings.current(), what))
"""


LETTERS = """
    import json
    from condgen_cli.hookspecs import hookimpl
    from condgen_cli.specs import CommandSpec

    CONDGEN_API = "2"

    @hookimpl
    def condgen_register_commands():
        return [CommandSpec("letters", "Prints.", "plug_letters:letters")]

    def letters() -> None:
        text = "爱 é 😀 ok"
        print(text)
        print(json.dumps(text, ensure_ascii=False))
"""


@pytest.fixture
def boom(condgen, make_plugin):
    make_plugin("boom", RAISING)
    return condgen


def modules_after(condgen_env, *commands):
    """What is imported when each of the command lines has run, all in one process."""
    code = f"""
import sys
from condgen_cli.cli.app import run
for arguments in {commands!r}:
    code = run(arguments)
    assert code == 0, (arguments, code)
print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], env=condgen_env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], [], ["caption", "--help"]])
def test_help_and_version_import_nothing_heavy(condgen_env, arguments):
    out, modules = modules_after(condgen_env, arguments)
    assert out
    assert sorted(HEAVY & modules) == []


def test_the_help_of_every_command_imports_nothing_heavy(condgen_env):
    _, modules = modules_after(condgen_env, *([name, "--help"] for name in CORE))
    assert sorted(HEAVY & modules) == []


def test_the_help_of_subcommands_imports_nothing_heavy(condgen_env):
    groups = {
        "data": ["ls", "pull", "show"],
        "recipe": ["ls", "show", "copy"],
        "experiment": ["ls", "show", "run"],
        "plugin": ["list", "doctor", "new"],
    }
    _, modules = modules_after(condgen_env, *([group, name, "--help"] for group in groups for name in groups[group]))
    assert sorted(HEAVY & modules) == []


def test_scoring_text_imports_no_torch(condgen_env, tmp_path):
    for name in ("hypotheses", "references"):
        (tmp_path / name).write_text("a dog runs\n")
    files = ["--hyp", str(tmp_path / "hypotheses"), "--ref", str(tmp_path / "references")]
    _, modules = modules_after(condgen_env, ["score", "wer", "rouge_l", *files])
    assert "torch" not in modules


def test_listing_commands_imports_none_of_them(condgen_env):
    out, modules = modules_after(condgen_env, ["--help"])
    assert not {module for module in modules if module.startswith(("condgen_cli.cli.commands.", "condgen_caption."))}
    for name, spec in CORE.items():
        assert f"  {name} " in out
        assert spec.help.split()[0] in out
    assert "  caption " in out


def test_version(condgen):
    done = condgen("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"condgen {__version__}\n", "")


def test_without_a_command_it_prints_help(condgen):
    done = condgen()
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: condgen")
    assert condgen("plugin").stdout.startswith("Usage: condgen plugin")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("CondgenError", 1),
        ("InputError", 1),
        ("UsageError", 2),
        ("NotFoundError", 3),
        ("PartialFailure", 4),
        ("PluginError", 5),
        ("IntegrityError", 6),
        ("NetworkError", 7),
        ("exit", 9),
        ("interrupt", 130),
    ],
)
def test_exit_codes(boom, kind, code):
    done = boom("boom", kind)
    assert done.returncode == code
    assert done.stdout == ""
    expected = "" if kind in ("exit", "interrupt") else "error: it broke\nhint: mend it\n"
    assert done.stderr == expected


def test_an_unexpected_error_is_one_line_and_a_traceback_only_on_request(boom):
    done = boom("boom", "unexpected")
    assert done.returncode == 1
    assert done.stderr == "error: unexpected ValueError: two lines\nhint: run it with condgen --debug\n"
    done = boom("--debug", "boom", "unexpected")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "plug_boom.py" in done.stderr


@pytest.mark.parametrize("option", [("--format", "json"), ("--format=json",)])
def test_with_json_an_error_is_one_document_on_stdout(boom, option):
    done = boom("boom", "NotFoundError", *option)
    assert done.returncode == 3
    assert json.loads(done.stdout) == {"error": {"code": 3, "message": "it broke", "hint": "mend it"}}


def test_with_json_a_usage_error_is_a_document_too(boom):
    done = boom("boom", "--nonsense", "--format", "json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == 2


def test_with_json_a_partial_failure_adds_no_second_document(boom):
    done = boom("boom", "PartialFailure", "--format", "json")
    assert (done.returncode, done.stdout) == (4, "")


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["boon"], "error: no command named 'boon'", "did you mean: boom"),
        (["zzzzzz"], "error: no command named 'zzzzzz'", "condgen --help"),
        (["boom"], "error: missing argument", "condgen boom --help"),
        (["boom", "x", "--frmat", "json"], "error: no such option: --frmat", "condgen boom --help"),
        (["--zoo"], "error: option --zoo needs a url or a path", "condgen --help"),
        (["plugin", "lsit"], "error: no such command 'lsit'", "condgen plugin --help"),
    ],
)
def test_usage_errors_are_one_line_and_a_hint(boom, arguments, error, hint):
    done = boom(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.lower().startswith(error)
    assert hint in second


@pytest.mark.parametrize(
    ("options", "what", "value"),
    [
        (["--offline"], "offline", "True"),
        ([], "offline", "False"),
        (["--zoo", "a.json", "--zoo", "b.json"], "zoos", "('a.json', 'b.json')"),
        (["--debug"], "debug", "True"),
    ],
)
def test_global_options_reach_the_command(boom, options, what, value):
    done = boom(*options, "say", what)
    assert (done.returncode, done.stdout) == (0, f"{value}\n")


def test_the_zoo_option_comes_before_the_environment(boom, condgen_env):
    condgen_env["CONDGEN_ZOO"] = "env.json"
    assert boom("--zoo", "a.json", "say", "zoos").stdout == "('a.json', 'env.json')\n"


def test_settings_end_with_their_command_line(capsys):
    from condgen_cli import settings

    assert run(["--offline", "--debug", "--help"]) == 0
    assert not settings.current().debug


def test_a_reader_that_leaves_is_no_error(boom, condgen_env):
    with subprocess.Popen(
        [sys.executable, "-m", "condgen_cli", "say", "much"], env=condgen_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_what_stdouts_encoding_lacks_is_escaped_as_in_json(make_plugin, condgen_env):
    make_plugin("letters", LETTERS)
    done = subprocess.run(
        [sys.executable, "-m", "condgen_cli", "letters"],
        env={**condgen_env, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    plain, document = done.stdout.decode("ascii").splitlines()
    assert plain == r"\u7231 \u00e9 \ud83d\ude00 ok"
    assert json.loads(document) == "爱 é 😀 ok"


def test_control_c_leaves_no_traceback(make_plugin, condgen_env):
    make_plugin(
        "sleepy",
        """
        import time
        from condgen_cli.hookspecs import hookimpl
        from condgen_cli.specs import CommandSpec
        CONDGEN_API = "2"

        @hookimpl
        def condgen_register_commands():
            return [CommandSpec("sleep", "Sleeps.", "plug_sleepy:sleep")]

        def sleep() -> None:
            print("asleep", flush=True)
            time.sleep(60)
        """,
    )
    with subprocess.Popen(
        [sys.executable, "-m", "condgen_cli", "sleep"], env=condgen_env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"asleep\n"
        process.send_signal(2)
        assert process.stderr.read() == b""
    assert process.returncode == 130


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("variable", "colored"), [(None, True), ("NO_COLOR", False)])
def test_messages_are_coloured_on_a_terminal_alone(monkeypatch, variable, colored):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "1")
    for stream, expected in ((Terminal(), colored), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        console.warn("careful")
        assert ("\x1b[" in stream.getvalue()) == expected
        assert "careful" in stream.getvalue()


def test_progress_draws_on_a_terminal_alone(monkeypatch):
    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with console.progress(2, "reading") as advance:
            advance(1)
            advance(1)
        assert ("reading" in stream.getvalue()) == drawn


def test_a_closed_stderr_fails_nothing(monkeypatch):
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    console.warn("nobody hears this")
    monkeypatch.setattr(sys, "stderr", None)
    console.warn("nor this")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_terminal_tells_how_wide_it_is(condgen_env):
    import fcntl
    import pty
    import struct
    import termios

    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 123, 0, 0))
    code = "from condgen_cli.files import stdout; from condgen_cli.terminal import console; stdout.prepare_streams(); print(console.width())"
    env = {name: value for name, value in condgen_env.items() if name != "COLUMNS"}
    subprocess.run([sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal, env=env, check=True)
    assert os.read(main, 100).split() == [b"123"]
    os.close(main)
    os.close(terminal)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["caption", "--device", "foo", "a.jpg"], "invalid value for '--device': 'foo' is not one of 'auto', 'cpu', 'cuda'"),
        (
            ["eval", "sat", "--limit", "0", "--dataset", "x"],
            "invalid value for '--limit': ",
        ),
        (["ntm", "x"], "invalid value for 'TASK': 'x' is not one of 'copy', 'repeat-copy'"),
    ],
)
def test_wrong_values_are_told_in_plain_words(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert f"error: {message}" in told
    assert "Value error" not in told
