"""``condgen translate`` as a user meets it, with a model that writes its words in capitals."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from condgen_cli.cli import app
from condgen_cli.errors import InputError
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.model import Item, Predictor
from condgen_cli.running.runner import Bundle, Runner

Outcome = tuple[int, str, str]
Translate = Callable[..., Outcome]


class Shouter(Predictor):
    """Each word in capitals, while it looks at that word alone."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def collate(self, items: Sequence[Item]) -> list[str]:
        texts = [item.condition for item in items]
        if any("unreadable" in text for text in texts):
            raise InputError("it is unreadable")
        if any("broken" in text for text in texts):
            raise ValueError("no idea")
        self.batches.append(texts)
        return texts

    def condition(self, item: Item) -> str:
        return str(item.condition)

    def length(self, item: Item) -> int:
        return len(item.condition.split())

    def predict(self, batch: list[str]) -> list[Generation]:
        return [shouted(text) for text in batch]


def shouted(text: str) -> Generation:
    source = tuple(text.split())
    tokens = tuple(word.upper() for word in source if word != "Ж")
    axes = (Axis("token", "tokens", tokens), Axis("source", "tokens", source))
    weights = AttentionMap(np.eye(len(tokens), len(source), dtype=np.float32), axes)
    log_probs, unread = np.full(len(tokens), -1, np.float32), tuple(word for word in source if word in ("Ж", "Ω"))
    return Generation(" ".join(tokens), tokens, log_probs, -len(tokens), {"attention": weights}, unread=unread)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shouter:
    """What ``-m`` stands for; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    shouter = Shouter()
    runner = Runner(shouter, Bundle("shouter", "translate", "shouter", {}, {}, {}), torch.device("cpu"))
    monkeypatch.setattr("condgen_cli.running.runner.load", lambda *_: runner)
    return shouter


@pytest.fixture
def translate(model: Shouter, capsys: pytest.CaptureFixture[str]) -> Translate:
    """Runs the command in this process: exit code, stdout, stderr."""

    def run(*arguments: str) -> Outcome:
        code = app.run(["translate", *arguments])
        return code, *capsys.readouterr()

    return run


def test_texts_give_a_line_each(translate: Translate) -> None:
    assert translate("guten tag") == (0, "GUTEN TAG\n", "")
    assert translate("guten tag", "", "wie geht's") == (0, "GUTEN TAG\n\nWIE GEHT'S\n", "")


def test_one_line_out_for_each_line_in(translate: Translate, model: Shouter) -> None:
    texts = [f"{'wort ' * (7 * n % 11)}nummer {n}" if n % 5 else " " * (n % 3) for n in range(100)]
    Path("in.txt").write_bytes("\r\n".join(texts).encode())
    code, out, err = translate("--input", "in.txt", "--batch-size", "4")
    assert (code, err) == (0, "")
    assert out.split("\n") == [*(text.upper().strip() for text in texts), ""]
    assert not any(text.isspace() or not text for batch in model.batches for text in batch)
    first = list(model.batches)
    model.batches.clear()
    assert translate("--input", "in.txt", "--batch-size", "4")[1] == out
    assert sorted(model.batches) == sorted(first), "batches of a file are the same each time"


def test_standard_input(translate: Translate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\ufeffhallo\n\nwelt".encode())))
    assert translate("--input", "-") == (0, "HALLO\n\nWELT\n", "")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert translate("--input", "-") == (0, "", "")


def test_lines_that_fail_leave_an_empty_line(translate: Translate) -> None:
    Path("in.txt").write_bytes(b"eins\nzw\xffei\nunreadable\nbroken\n" + b"wort " * 300 + b"\nsechs\n")
    code, out, err = translate("--input", "in.txt")
    assert code == 4
    assert out == "EINS\n\n\n\n\nSECHS\n"
    errors = [line for line in err.splitlines() if line.startswith("error")]
    assert errors[:3] == [
        "error: in.txt:2: not UTF-8 (byte 0xff at 3)",
        "error: in.txt:3: it is unreadable",
        "error: in.txt:4: ValueError: no idea",
    ]
    assert errors[3].startswith("error: in.txt:5: a sentence of 1499 characters is too long")
    assert len(errors) == 4


def test_what_the_model_did_not_read_and_did_not_copy_is_named(translate: Translate) -> None:
    code, out, error = translate("a Ж b Ω Ж", "c Ω")
    assert (code, out) == (0, "A B Ω\nC Ω\n")
    assert error.splitlines() == ["warning: text-1: shouter does not know Ж"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--temperature", "0.5"), "--temperature applies to sampling"),
        (("--top-k", "2"), "--top-k applies to sampling"),
        (("--top-p", "0.5"), "--top-p applies to sampling"),
        (("--top-k", "0"), "--top-k applies to sampling"),
        (("--force", "x", "--no-repeat-ngram", "0"), "combined with --no-repeat-ngram"),
        (("--beam", "2", "--top-p", "0.5"), "--top-p applies to sampling"),
        (("--sample", "--length-penalty", "1"), "--length-penalty applies to search"),
        (("--sample", "--beam", "2"), "--sample and --beam can't be combined"),
        (("--beam", "2", "--nbest", "3"), "--nbest 3 exceeds the beam of 2"),
        (("--nbest", "2000"), "--nbest can't exceed 1000"),
        (("--force", "x", "--temperature", "2"), "combined with --temperature"),
        (("--force", "x", "--max-length", "2", "--no-repeat-ngram", "3"), "combined with --no-repeat-ngram, --max-length"),
        (("--temperature", "nan", "--sample"), "--temperature must be between 0.01 and 1000, not nan"),
        (("--temperature", "0", "--sample"), "--temperature must be between"),
        (("--top-p", "0", "--sample"), "--top-p must be above 0"),
        (("--length-penalty", "1e308"), "--length-penalty must be between"),
        (("--length-penalty", "nan"), "--length-penalty must be between"),
        (("--nbest", "100000"), "--nbest"),
        (("--beam", "100000"), "--beam"),
        (("--batch-size", "100000000"), "--batch-size"),
        (("--max-length", "1000000000"), "--max-length"),
        (("--no-repeat-ngram", "-1"), "--no-repeat-ngram"),
        (("--seed", "-1"), "--seed"),
    ],
)
def test_what_does_nothing_or_is_out_of_bounds_is_refused_before_any_work(
    translate: Translate, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
) -> None:
    monkeypatch.setattr("condgen_cli.running.runner.load", lambda *_: pytest.fail("the model is loaded"))
    code, out, err = translate("text", *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert err.count("error: ") == 1


def test_json_holds_the_text(translate: Translate) -> None:
    Path("in.txt").write_bytes(b"eins zwei\n\nunreadable\nzw\xffei\n")
    code, out, _ = translate("--input", "in.txt", "--format", "json")
    rows = json.loads(out)
    assert code == 4
    assert [row["input"] for row in rows] == ["eins zwei", "", "unreadable", "in.txt:4"]
    assert [row["output"] for row in rows] == ["EINS ZWEI", "", None, None]
    assert [row["attention"] is None for row in rows] == [False, True, True, True]
    assert [row["error"] is None for row in rows] == [True, True, False, False]
    assert rows[2]["error"]["message"] == "in.txt:3: it is unreadable"


def test_a_long_text_is_done_in_parts(translate: Translate, model: Shouter) -> None:
    text = " ".join([f"{'wort ' * 39}ende."] * 3)
    code, out, _ = translate(text, "kurz", "--format", "json")
    first, second = json.loads(out)
    assert code == 0
    assert (first["input"], first["output"], second["output"]) == (text, text.upper(), "KURZ")
    assert max(len(one.split()) for batch in model.batches for one in batch) == 40
    axes = first["attention"]["attention"]["axes"]
    assert [len(axis["labels"]) for axis in axes] == [120, 120]
    code, out, _ = translate(f"{text} unreadable.", "kurz")
    assert (code, out) == (4, "\nKURZ\n")


def test_attention_follows_its_line(translate: Translate) -> None:
    Path("in.txt").write_text("eins zwei\n\ndrei\n")
    code, out, err = translate("--input", "in.txt", "--show-attention")
    assert (code, err) == (0, "")
    first, rest = out.split("\n", 1)
    assert first == "EINS ZWEI"
    assert rest.index("zwei") < rest.index("\nDREI")


def test_attention_is_saved_under_the_line_s_number(translate: Translate) -> None:
    Path("in.txt").write_text("eins\n\nzwei\n")
    assert translate("--input", "in.txt", "--save-attention", "{stem}.json")[0] == 0
    assert translate("drei", "vier", "--save-attention", "{stem}.json")[0] == 0
    assert {path.name for path in Path().glob("*.json")} == {"in-1.json", "in-3.json", "text-1.json", "text-2.json"}
    assert translate("drei", "--save-attention", "map.json")[0] == 0
    code, _, err = translate("--input", "in.txt", "--save-attention", "map.json")
    assert code == 2
    assert "hint: --save-attention map-{stem}.json" in err


def test_the_command_line_is_checked(translate: Translate, model: Shouter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "condgen_cli.running.runner.load", lambda *_: pytest.fail("a model was loaded before the options' check")
    )
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"text")))
    code, out, err = translate()
    assert (code, out, err) == (2, "", "error: no input\nhint: --input - reads standard input\n")
    Path("in.txt").write_text("eins\n")
    assert translate("text", "--input", "in.txt")[0] == 2
    code, _, err = translate("--input", "on.txt")
    assert (code, err) == (3, "error: on.txt does not exist\nhint: did you mean: in.txt\n")


def test_inspect_takes_texts(model: Shouter, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["inspect", "shouter", "guten tag"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("guten tag\nGUTEN TAG  (score -2.00)\n")
    assert app.run(["inspect", "shouter", "eins", "unreadable", "--format", "json"]) == 4
    rows = json.loads(capsys.readouterr().out)
    assert [row["input"] for row in rows] == ["eins", "unreadable"]
    assert rows[1]["error"]["message"] == "text-2: it is unreadable"


PLUGIN = """
    from condgen_cli.hookspecs import hookimpl
    from condgen_cli.specs import ModelSpec

    CONDGEN_API = "2"

    @hookimpl
    def condgen_register_models():
        return [ModelSpec("shouter", "translate", "plug_shouter:build")]

    def build(config, files):
        from condgen_cli.generation import Generation
        from condgen_cli.model import Predictor

        class Shouter(Predictor):
            def collate(self, items):
                return [item.condition for item in items]

            def length(self, item):
                return len(item.condition)

            def predict(self, batch):
                return [Generation(text.upper()) for text in batch]

        return Shouter()
"""


def test_a_pipe_is_answered_line_by_line(make_plugin: Callable[..., None], condgen_env: dict[str, str], tmp_path: Path) -> None:
    make_plugin("shouter", PLUGIN)
    run = tmp_path / "run"
    run.mkdir()
    architecture = {"name": "shouter", "config": {}}
    (run / "model.json").write_text(json.dumps({"architecture": architecture, "task": "translate", "files": []}))
    command = [sys.executable, "-m", "condgen_cli", "translate", "-m", str(run), "--input", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=condgen_env, bufsize=0
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        for text in (b"eins\n", b"\n", b"zwei\n"):
            process.stdin.write(text)
            assert process.stdout.readline() == text.upper(), "before the next line is there"
        process.stdout.close()
        process.stdin.write(b"drei\n")  # nobody reads its answer: the process ends, though more input may come
        assert process.wait(300) == 1
        assert process.stderr.read() == b""
