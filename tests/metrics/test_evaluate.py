"""``condgen eval`` on a plugin made for it: items hold words, models repeat them with mistakes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condgen_cli.cli.app import run
from condgen_cli.registry.entry_points import EntryPoint
from condgen_cli.registry.plugins import Plugins

PLUGIN = """
from __future__ import annotations
from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import DatasetSpec, ModelSpec, Option, TaskSpec

CONDGEN_API = "2"

@hookimpl
def condgen_register_tasks():
    echo = TaskSpec("echo", "Repeat.", "echo:command", "echo:read", metrics=("bleu1", "wer"))
    return [echo, TaskSpec("other", "Not that.", "echo:command", "echo:read")]

@hookimpl
def condgen_register_models():
    return [ModelSpec("echo", "echo", "echo:Echo"), ModelSpec("stranger", "other", "echo:Echo")]

@hookimpl
def condgen_register_datasets():
    options = {"size": Option("how many items", "12"), "bad": Option("every n-th item is broken", "0")}
    return [DatasetSpec("words", "echo", "Words.", "echo:items", splits=("train", "test"), options=options)]

def items(root, split, size, bad):
    from condgen_cli.data.archives import Member, open_tree
    from condgen_cli.model import Item
    for n in range(int(size)):
        text = Member(open_tree(root), split).open().decode().strip() + f" {n} and more words"
        condition = None if int(bad) and n % int(bad) == 0 else text
        yield Item(f"i{n}", condition, (text, "something else"), source=f"line {n}", group=("even", "odd")[n % 2])

def Echo(config, files):
    import numpy as np
    from condgen_cli.errors import InputError
    from condgen_cli.generation import AttentionMap, Axis, Generation
    from condgen_cli.model import Predictor

    class Echo(Predictor):
        def collate(self, items):
            if any(item.condition is None for item in items):
                raise InputError("there are no words")
            return [item.condition for item in items]

        def condition(self, item):
            return item.condition

        def predict(self, batch):
            return list(self.written(batch))

        def written(self, batch):
            for text in batch:
                words = text.split()
                n = int(words[1])
                written = words[: len(words) - n % config["errors"]]
                axes = (Axis("word", "tokens", tuple(written)), Axis("heard", "tokens", tuple(words)))
                weights = np.eye(len(written), len(words), dtype=np.float32)
                told = ("it ends early",) if len(written) < 3 else ()
                maps = {"attention": AttentionMap(weights, axes)}
                yield Generation(" ".join(written), tuple(written), attention=maps, warnings=told)

    return Echo()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the data set and three runs, in which the plugin is the only one."""
    (tmp_path / "echo.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path / "home"))
    plugins = Plugins([EntryPoint("echo", "echo", "condgen-echo", "1")])
    monkeypatch.setattr("condgen_cli.registry.plugins._manager", lambda third_party: plugins)
    data = tmp_path / "words"
    data.mkdir()
    for split in ("train", "test"):
        (data / split).write_text(split)
    runs = {"good": ("echo", 2), "poor": ("echo", 4), "strange": ("stranger", 1)}
    for name, (architecture, errors) in runs.items():
        (tmp_path / name).mkdir()
        task = "echo" if architecture == "echo" else "other"
        model = {"architecture": {"name": architecture, "config": {"errors": errors}}, "task": task, "files": []}
        (tmp_path / name / "model.json").write_text(json.dumps(model))
    yield tmp_path
    sys.modules.pop("echo", None)


def evaluate(*arguments: str) -> int:
    return run(["eval", *arguments, "--dataset", "words", "--data-dir", "words"])


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("./good", "--format", "json") == 0
    (result,) = document(capsys)["results"]
    settings = ["options", "limit", "decoding", "seed"]
    assert list(result) == ["model", "dataset", "split", "n", "metrics", "signature", *settings, "groups", "seconds"]
    assert [result[key] for key in settings] == [{"size": "12", "bad": "0"}, None, None, 12345]
    assert [result[key] for key in ("model", "dataset", "split", "n")] == ["good", "words", "test", 12]
    # of 5 words each, every second output lacks one
    wer = result["metrics"]["wer"]
    assert wer["value"] == pytest.approx(10)
    assert wer["low"] < 10 < wer["high"]
    assert set(result["groups"]) == {"even", "odd"}
    assert result["groups"]["odd"]["n"] == 6
    assert result["groups"]["odd"]["metrics"]["wer"]["value"] == pytest.approx(20)
    assert result["signature"].startswith("nrefs:2|bleu1[case:lc|tok:condgen-ptb")
    assert "|data:words|split:test|set:bad=0,size=12|refs:" in result["signature"]
    assert "|n:12|bs:1000|seed:12345|condgen:" in result["signature"]


def test_tables(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("./good", "./poor", "--paired") == 0
    out = capsys.readouterr().out
    assert "words test" in out
    assert "good" in out
    assert "±" in out
    assert "poor by group" in out
    assert "difference to the first on the same items" in out
    assert "nrefs:2|" in out


def test_split_settings_limit_and_seed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--split", "train", "--set", "size=30", "--limit", "20", "--seed", "7", "--no-ci", "--format", "json")
    assert evaluate("./good", *options) == 0
    (result,) = document(capsys)["results"]
    assert (result["split"], result["n"]) == ("train", 20)
    assert result["metrics"]["wer"]["low"] is None
    assert "seed" not in result["signature"]
    assert (result["options"], result["limit"], result["seed"]) == ({"size": "30", "bad": "0"}, 20, 7)


def test_what_comes_from_outside_is_printed_escaped(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("words/test").write_text("\x1b[31mtest")
    assert evaluate("./poor", "--worst", "1", "--alignments", "plain", "--set", "size=4") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "  reference: \\x1b[31mtest 3 and more words" in out
    assert "\\x1b[31m" in next(line for line in out.splitlines() if line.startswith("REF:"))
    assert evaluate("./poor", "--set", "size=4", "--set", "\x1b=2") == 2


def test_an_option_that_changes_no_score_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("./good", "--beam", "3") == 2
    assert capsys.readouterr().err == "error: --beam can't change these scores: good doesn't search\n"
    assert evaluate("./good", "--no-repeat-ngram", "3", "--beam", "2") == 2
    assert "--beam and --no-repeat-ngram can't change" in capsys.readouterr().err
    assert evaluate("./good", "--tokenize", "zh") == 2
    assert "--tokenize zh has no effect on bleu1, wer" in capsys.readouterr().err


def test_paired(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("./good", "./poor", "--paired", "--format", "json") == 0
    found = document(capsys)
    (comparison,) = found["paired"]
    assert (comparison["model"], comparison["against"], comparison["n"]) == ("poor", "good", 12)
    good, poor = (result["metrics"]["wer"]["value"] for result in found["results"])
    assert comparison["metrics"]["wer"]["value"] == pytest.approx(poor - good)
    assert comparison["metrics"]["wer"]["p"] < 0.05


def test_worst_items_with_what_the_model_looked_at(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("./poor", "--worst", "2", "--alignments", "sclite") == 0
    out = capsys.readouterr().out
    assert "poor: the worst by wer" in out
    # with errors 4, items 3, 7 and 11 lack three words
    assert [line.split()[0] for line in out.splitlines() if " wer 60.000 " in line] == ["i3", "i7"]
    assert "  reference: test 3 and more words" in out
    assert "id: (i7)" in out
    assert "Scores: (#C #S #D #I) 2 0 3 0" in out

    assert evaluate("./poor", "--worst", "2", "--alignments", "plain", "--format", "json") == 0
    (result,) = document(capsys)["results"]
    assert [item["id"] for item in result["worst"]] == ["i3", "i7"]
    assert result["worst"][0]["attention"]["attention"]["weights"][1][1] == 1
    assert [item["id"] for item in result["alignments"]] == ["i3", "i7"]


def test_errors_file(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("./good", "./poor", "--errors", "items.jsonl") == 0
    rows = [json.loads(line) for line in Path("items.jsonl").read_text().splitlines()]
    assert [(row["model"], row["id"]) for row in (rows[0], rows[23])] == [("good", "i0"), ("poor", "i11")]
    assert rows[1]["output"] == "test 1 and more"
    assert rows[1]["references"] == ["test 1 and more words", "something else"]
    assert rows[1]["metrics"]["wer"] == pytest.approx(20)


@pytest.mark.parametrize("name", ["words/test", "link", "good/model.json", "good/weights.json"])
def test_the_errors_file_is_no_input(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("link").hardlink_to("words/test")
    Path("good/weights.json").write_text("{}")
    description = json.loads(Path("good/model.json").read_text()) | {"files": ["weights.json"]}
    Path("good/model.json").write_text(json.dumps(description))
    before = Path(name).read_bytes()
    assert evaluate("./good", "--errors", name) == 2
    captured = capsys.readouterr()
    assert (captured.out, Path(name).read_bytes()) == ("", before)
    assert captured.err.startswith(f"error: {name} is an input")


def test_what_is_told_about_items_is_printed_and_kept(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("./good", "./poor", "--errors", "items.jsonl", "--set", "size=28") == 0
    err = capsys.readouterr().err
    assert "good" not in err
    assert next(line for line in err.splitlines() if "ends early" in line) == "warning: poor: line 3: it ends early"
    assert err.count("ends early") == 5
    assert "warning: poor: 2 more such warnings; --errors FILE writes them all" in err
    rows = [json.loads(line) for line in Path("items.jsonl").read_text().splitlines()]
    assert [row.get("warnings") for row in rows[28:32]] == [None, None, None, ["it ends early"]]


def test_an_evaluation_that_fails_leaves_the_errors_file_as_it_was(place: Path) -> None:
    Path("items.jsonl").write_text("yesterday's")
    assert evaluate("./good", "--errors", "items.jsonl", "--set", "bad=1") == 1
    assert Path("items.jsonl").read_text() == "yesterday's"
    assert evaluate("./good", "--errors", "words") == 2
    assert {path.name for path in place.iterdir() if path.name.startswith(".")} == set()


def test_failed_items_are_counted_and_the_others_scored(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("./good", "./poor", "--set", "bad=3", "--paired", "--format", "json") == 4
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [(result["n"], result["failed"]) for result in found["results"]] == [(8, 4), (8, 4)]
    assert found["paired"][0]["n"] == 8
    assert "warning: good: line 0: there are no words" in captured.err
    assert "error: 8 items failed" in captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["./good", "--set", "bad=1"], 1, "good failed on all 12 items, first on line 0: there are no words"),
        (["./good", "--set", "size=0"], 1, "split test of data set words has no items"),
        (["./good", "--split", "dev"], 2, "data set words has no split 'dev'"),
        (["./good", "--paired"], 2, "--paired compares models: name at least two"),
        (["./good", "--weight", "ctc=1"], 2, "the model has no scorer 'ctc'"),
        (["./good", "--weight", "ctc=much"], 2, "--weight 'ctc=much' is not NAME=W"),
        (["./good", "--weight", "ctc=-1"], 2, "--weight 'ctc=-1' is not NAME=W"),
        (["./good", "--weight", "=1"], 2, "--weight '=1' is not NAME=W"),
        (["./strange"], 2, "data set words is for echo, model strange for other"),
        (["./nothing"], 3, "./nothing"),
        (["./good", "--errors", "no/folder"], 3, "cannot write no/folder: the folder no does not exist"),
        (["./good", "--dataset", "wards"], 3, "no data set named 'wards'"),
    ],
)
def test_failures_are_one_line(
    arguments: list[str], code: int, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = [] if "--dataset" in arguments else ["--dataset", "words"]
    assert run(["eval", *arguments, *rest, "--data-dir", "words", "--format", "json"]) == code
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["message"].startswith(message)
    assert captured.err.startswith(f"error: {message}")


def test_published_figures_stand_beside_ours(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = {
        "id": "echo",
        "task": "echo",
        "description": "Repeats.",
        "licence": "CC0-1.0",
        "revision": "1",
        "architecture": {"name": "echo", "config": {"errors": 1}},
        "references": [
            {
                "system": "Narcissus",
                "dataset": "words",
                "split": split,
                "metric": "bleu1",
                "value": value,
                "note": "ours differs",
                "source": "Ovid",
            }
            for split, value in (("test", 33.5), ("train", 44.5))
        ],
    }
    Path("zoo").mkdir()
    Path("zoo/manifest.json").write_text(json.dumps({"schema": 1, "entries": [entry]}))
    assert run(["--zoo", "zoo/manifest.json", "eval", "echo", "--dataset", "words", "--data-dir", "words"]) == 0
    out = capsys.readouterr().out
    (published,) = [line for line in out.splitlines() if line.startswith("Narcissus")]
    assert "33.5" in published
    assert "ours differs; Ovid" in published
    assert out.index("ours:") < out.index("published:")


def test_published_figures_are_shown_only_where_their_options_match(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def entry(id: str, *references: dict[str, Any], results: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
        own = {"id": id, "task": "echo", "description": "Repeats.", "licence": "CC0-1.0", "revision": "1"}
        architecture = {"name": "echo", "config": {"errors": 1}}
        return {**own, "architecture": architecture, "references": references, "results": results}

    def reference(system: str, **options: str) -> dict[str, Any]:
        return {"system": system, "dataset": "words", "split": "test", "metric": "bleu1", "value": 1.0, "options": options}

    references = [reference("Default"), reference("Named", size="12"), reference("Longer", size="13")]
    elsewhere = {"dataset": "phrases", "split": "test", "metric": "wer", "value": 2.0}
    entries = [entry("echo", *references), entry("other", results=(elsewhere,))]
    Path("zoo").mkdir()
    Path("zoo/manifest.json").write_text(json.dumps({"schema": 2, "entries": entries}))

    def shown(*arguments: str) -> set[str]:
        command = ["--zoo", "zoo/manifest.json", "eval", *arguments, "--dataset", "words", "--data-dir", "words", "--no-ci"]
        assert run(command) in (0, 4)
        lines = capsys.readouterr().out.splitlines()
        return {name for name in ("Default", "Named", "Longer") if any(line.startswith(name) for line in lines)}

    assert shown("echo") == shown("./good") == shown("other", "echo") == {"Default", "Named"}
    assert shown("echo", "--set", "size=12", "--set", "bad=0") == {"Default", "Named"}
    assert shown("echo", "--set", "size=13") == {"Longer"}
    assert shown("echo", "--set", "size=14") == shown("echo", "--set", "bad=5") == set()
    assert shown("other") == set()  # a model of another data set
