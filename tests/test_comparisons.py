"""``condgen comparison`` on a plugin made for it: its models repeat words, with as many mistakes as their recipe says."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from condgen_cli.cli.app import run
from condgen_cli.comparisons.curves import draw_curves, median_curve, run_curve
from condgen_cli.comparisons.definition import parse_comparison
from condgen_cli.comparisons.run import Outcome, Run
from condgen_cli.comparisons.series import draw_series, points
from condgen_cli.errors import UsageError
from condgen_cli.registry.entry_points import EntryPoint
from condgen_cli.registry.plugins import Plugins
from condgen_cli.training.stages import parse_recipe

PLUGIN = """
from __future__ import annotations
from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import DatasetSpec, ComparisonSpec, ModelSpec, Option, TaskSpec

CONDGEN_API = "2"

@hookimpl
def condgen_register_tasks():
    copy = TaskSpec("copy", "Repeat.", "copying:command", "copying:read", ("accuracy",))
    return [copy, TaskSpec("other", "Not that.", "copying:command", "copying:read")]

@hookimpl
def condgen_register_models():
    return [ModelSpec("copier", "copy", "copying_model:Copier", experiment="copying_model:Experiment")]

@hookimpl
def condgen_register_datasets():
    options = {"group": Option("what groups are", "none", ("none", "length")), "size": Option("items", "20")}
    words = DatasetSpec("words", "copy", "Words.", "copying_model:words", splits=("dev", "test"), options=options)
    return [words, DatasetSpec("others", "other", "Others.", "copying_model:words")]

@hookimpl
def condgen_register_comparisons():
    return [
        ComparisonSpec("named", "copy", "copying_files", "named.toml", "Errors, many and few."),
        ComparisonSpec("lost", "copy", "copying_files", "lost.toml"),
    ]
"""

MODEL = """
import json
import signal
from pathlib import Path

import torch
from safetensors.torch import save_file

from condgen_cli import training
from condgen_cli.errors import InputError
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.model import Predictor


def words(root, split, group="none", size="20"):
    for n in range(int(size)):
        text = " ".join([split, str(n), *["word"] * (n % 12)])
        length = "5-12" if n % 12 > 4 else "0-4"
        yield Item(f"i{n}", text, (text,), group=length if group == "length" else "")


class Copier(Predictor):
    def __init__(self, config, files=None):
        super().__init__()
        self.errors = config["errors"]
        self.weight = torch.nn.Parameter(torch.rand(()))

    def collate(self, items):
        if "crash" in Path("mood").read_text():
            raise InputError("no mood for it")
        return [item.condition for item in items]

    def predict(self, batch):
        written = ["mistake" if int(text.split()[1]) % self.errors == 0 else text for text in batch]
        return [Generation(text, tuple(text.split())) for text in written]


class Objective(training.Objective):
    def __init__(self, errors):
        super().__init__()
        self.model = Copier({"errors": errors})

    def forward(self, batch):
        loss = (self.model.weight - batch) ** 2
        return loss, {"tokens": 2}


class Experiment(training.Experiment):
    dev_metrics = ("weight",)
    material = "words"

    def __init__(self, recipe, data_dir):
        if recipe.model.options["errors"] < 1:
            raise RuntimeError("no division")
        self.errors = recipe.model.options["errors"]
        self.objective = Objective(self.errors)
        self.name = recipe.name

    def prepare(self): ...
    def batch(self, part, rng): ...

    def batches(self, epoch):
        return Batches(self.name, epoch)

    def evaluate(self):
        return {"weight": self.objective.model.weight.item()}

    def export(self, directory):
        save_file(self.objective.model.state_dict(), directory / "model.safetensors")
        model = {"architecture": {"name": "copier", "config": {"errors": self.errors}}, "task": "copy"}
        (directory / "model.json").write_text(json.dumps(model | {"files": ["model.safetensors"]}))


class Batches:
    def __init__(self, name, epoch):
        self.place = f"{name} {epoch}"

    def __len__(self):
        return 3

    def __iter__(self):
        with Path("trained").open("a") as file:
            file.write(self.place + chr(10))
        for _ in range(3):
            if Path("mood").read_text() == self.place:
                Path("mood").write_text("")
                signal.raise_signal(signal.SIGINT)
            yield torch.rand(())
"""

RECIPE = """
name = "copier"
task = "copy"
[model]
architecture = "copier"
errors = 2
[data]
dataset = "words"
[training]
epochs = 2
metric = "weight"
log_every = 1
"""

EXPERIMENT = """
name = "mistakes"
question = "Do fewer mistakes help?"
recipe = "copier.toml"
settings = ["training.lr=0.1"]

[evaluate]
dataset = "words"
split = "dev"

[[variants]]
label = "many"

[[variants]]
label = "few"
settings = ["model.errors=5"]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a recipe, an experiment and a data set, in which the plugin is the only one."""
    (tmp_path / "copying.py").write_text(PLUGIN)
    (tmp_path / "copying_model.py").write_text(MODEL)
    (tmp_path / "copying_files").mkdir()
    (tmp_path / "copying_files" / "named.toml").write_text(EXPERIMENT.replace("mistakes", "named", 1))
    (tmp_path / "copier.toml").write_text(RECIPE)
    (tmp_path / "mistakes.toml").write_text(EXPERIMENT)
    (tmp_path / "words").mkdir()
    (tmp_path / "mood").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path / "home"))
    plugins = Plugins([EntryPoint("copying", "copying", "condgen-copying", "1")])
    monkeypatch.setattr("condgen_cli.registry.plugins._manager", lambda third_party: plugins)
    # drawing takes longer than all else here
    monkeypatch.setattr("condgen_cli.training.loop.draw_curve", lambda *arguments: None)
    monkeypatch.setattr("condgen_cli.comparisons.curves.draw_curves", lambda *arguments: False)
    yield tmp_path
    for name in ("copying", "copying_model", "copying_files"):
        sys.modules.pop(name, None)


def experiment(*arguments: str, name: str = "mistakes.toml") -> int:
    return run(["experiment", "run", name, "--data-dir", "words", *arguments])


def trained(place: Path) -> list[str]:
    """The epochs that were begun since last asked: the run's name and the epoch."""
    file = place / "trained"
    lines = file.read_text().splitlines() if file.exists() else []
    file.write_text("")
    return lines


def change(place: Path, old: str, new: str) -> None:
    """Write the experiment's file with something else in it."""
    assert EXPERIMENT.count(old) == 1
    (place / "mistakes.toml").write_text(EXPERIMENT.replace(old, new))


ALL = ["many 0", "many 1", "few 0", "few 1"]


def test_every_variant_is_trained_scored_and_compared(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment("--format", "json") == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["experiment"], found["question"]) == ("mistakes", "Do fewer mistakes help?")
    many, few = found["variants"]
    assert [many["label"], few["label"]] == ["many", "few"]
    assert [many["parameters"], many["seed"], many["error"]] == [1, None, None]
    assert many["result"]["metrics"]["accuracy"]["value"] == pytest.approx(50)
    assert few["result"]["metrics"]["accuracy"]["value"] == pytest.approx(80)
    assert few["result"]["metrics"]["accuracy"]["low"] < 80 < few["result"]["metrics"]["accuracy"]["high"]
    assert few["training"]["epochs"] == 2
    assert few["training"]["tokens_per_second"] > 0
    assert "few: training in runs/comparisons/mistakes/few" in printed.err
    assert trained(place) == ALL
    recipe = json.loads((place / few["run"] / "recipe.json").read_text())
    assert (recipe["name"], recipe["training"]["lr"], recipe["model"]["errors"]) == ("few", 0.1, 5)
    assert json.loads((place / few["run"] / "evaluation.json").read_text())["result"] == few["result"]


def test_what_is_finished_is_not_done_again(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment() == 0
    first = capsys.readouterr().out
    trained(place)
    shutil.rmtree(place / "words")  # not even the data is needed any more
    assert run(["experiment", "run", "mistakes.toml"]) == 0
    again = capsys.readouterr()
    assert again.out == first
    assert "many: done already" in again.err
    assert trained(place) == []


def test_other_scoring_scores_anew_but_trains_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment() == 0
    trained(place)
    capsys.readouterr()
    assert experiment("--limit", "4", "--format", "json") == 0
    printed = capsys.readouterr()
    assert [variant["result"]["n"] for variant in json.loads(printed.out)["variants"]] == [4, 4]
    assert "few: trained already" in printed.err
    change(place, 'split = "dev"', 'split = "test"')
    assert experiment("--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["variants"][0]["result"]["split"] == "test"
    assert trained(place) == []


def test_a_model_that_has_changed_is_scored_anew(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment() == 0
    model = place / "runs" / "comparisons" / "mistakes" / "many" / "model.json"
    model.write_text(model.read_text().replace('"errors": 2', '"errors": 4'))
    capsys.readouterr()
    assert experiment("--format", "json") == 0
    many, few = json.loads(capsys.readouterr().out)["variants"]
    assert many["result"]["metrics"]["accuracy"]["value"] == pytest.approx(75)
    assert few["result"]["metrics"]["accuracy"]["value"] == pytest.approx(80)


def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_happened(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert experiment("-o", "whole") == 0
    trained(place)
    (place / "mood").write_text("few 1")
    capsys.readouterr()
    assert experiment() == 130
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "hint: the same command continues" in printed.err
    assert trained(place) == ALL
    assert not (place / "runs/comparisons/mistakes/few/evaluation.json").exists()
    assert experiment() == 0
    assert trained(place) == ["few 1"]
    assert "many: done already" in capsys.readouterr().err
    weights = [(place / folder / "few" / "model.safetensors").read_bytes() for folder in ("whole", "runs/comparisons/mistakes")]
    assert weights[0] == weights[1]


def test_a_variant_that_fails_costs_only_itself(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(place, "model.errors=5", "model.errors=0")
    assert experiment("--format", "json") == 4
    printed = capsys.readouterr()
    many, few = json.loads(printed.out)["variants"]
    assert many["result"]["metrics"]["accuracy"]["value"] == pytest.approx(50)
    assert few["result"] is None
    assert few["error"]["message"] == "unexpected RuntimeError: no division"
    assert "warning: few: unexpected RuntimeError: no division" in printed.err
    assert "error: 1 of 2 runs failed: few" in printed.err
    assert experiment() == 4
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("few")]
    assert row.split() == ["few", *["–"] * 5]


def test_items_that_fail_are_counted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "mood").write_text("crash")
    assert experiment("--only", "few") == 1
    assert "few failed on all 20 items, first on i0: no mood for it" in capsys.readouterr().err
    (place / "mood").write_text("")
    assert experiment("--only", "few") == 0
    assert trained(place) == ["few 0", "few 1"]


def test_a_run_of_another_recipe_is_left_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment("--only", "many", "training.epochs=1") == 0
    assert experiment("--only", "many") == 2  # the only one, whose error is the command's
    assert "warning: many: runs/comparisons/mistakes/many holds a run of another recipe: its training differ" in (
        capsys.readouterr().err
    )
    assert trained(place) == ["many 0"]


def test_seeds(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(place, "question", "seeds = [3, 4]\nquestion")
    assert experiment("training.epochs=1", "--format", "json") == 0
    runs = json.loads(capsys.readouterr().out)["variants"]
    assert [(run["label"], run["seed"]) for run in runs] == [("many", 3), ("many", 4), ("few", 3), ("few", 4)]
    assert trained(place) == ["many-s3 0", "many-s4 0", "few-s3 0", "few-s4 0"]
    weights = [(place / run["run"] / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[2] != weights[1]
    model = place / runs[3]["run"] / "model.json"
    model.write_text(model.read_text().replace('"errors": 5', '"errors": 2'))
    assert experiment("training.epochs=1") == 0
    out = capsys.readouterr().out
    assert "words dev, mean and range of 2 seeds" in out
    assert "65.00 [50.00, 80.00]" in next(line for line in out.splitlines() if line.startswith("few"))


def test_curves_are_drawn(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("condgen_cli.comparisons.curves.draw_curves", draw_curves)
    change(place, "question", "seeds = [3, 4]\nquestion")
    assert experiment("training.epochs=1") == 0
    assert "curves: runs/comparisons/mistakes/curves.png" in capsys.readouterr().err
    with Image.open(place / "runs/comparisons/mistakes/curves.png") as picture:
        assert picture.width > picture.height > 100


def test_curves_of_nothing(place: Path) -> None:
    runs = [Run("many", parse_recipe(RECIPE, "copier.toml", ["training.metric=errors"]), place / "none")]
    assert not draw_curves(runs, "mistakes", place / "curves.png")
    log = [{"step": 2, "loss": 1.0}, {"step": 2, "dev": {"errors": 8.0}}, {"step": 4, "dev": {"errors": 0.5}}]
    (place / "none").mkdir()
    (place / "none" / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log))
    assert run_curve(runs[0]) == {64: 8.0, 128: 0.5}
    other = Run("few", parse_recipe(RECIPE, "copier.toml", []), place / "none")
    assert not draw_curves([*runs, other], "two metrics", place / "curves.png")
    assert not (place / "curves.png").exists()


def test_the_median_of_curves() -> None:
    whole = {10: 9.0, 20: 5.0, 30: 1.0, 40: 0.0}
    ended = {10: 7.0, 20: 6.0}
    between = {10: 8.0, 15: 7.0, 20: 4.0, 30: 3.0, 40: 2.0}
    assert median_curve([whole, ended, between]) == {10: 8.0, 20: 5.0, 30: 3.0, 40: 2.0}


def test_scores_are_drawn_over_numbers_of_parameters(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(place, 'label = "few"', 'label = "few"\nseries = "copiers"')
    assert experiment("training.epochs=1") == 0
    assert "scores: runs/comparisons/mistakes/series.png" in capsys.readouterr().err
    with Image.open(place / "runs/comparisons/mistakes/series.png") as picture:
        assert picture.width > picture.height > 100


def test_a_series_has_its_scored_runs_in_order_of_size(place: Path) -> None:
    text = EXPERIMENT.replace('label = "few"', 'label = "few"\nseries = "copiers"')
    text = text.replace('label = "many"', 'label = "many"\nseries = "copiers"')
    described = parse_comparison(text + '\n[[variants]]\nlabel = "else"\n', "mistakes.toml")
    recipe = parse_recipe(RECIPE, "copier.toml", [])

    def outcome(label: str, parameters: int, **score: float | None) -> Outcome:
        record = {"parameters": parameters, "result": {"metrics": {"errors": {"low": None, "high": None, **score}}}}
        return Outcome(Run(label, recipe, place / label), record if score else None)

    outcomes = [outcome("few", 9, value=1.0, low=0.5, high=2.0), outcome("many", 4, value=3.0), outcome("else", 7, value=2.0)]
    assert points(described, outcomes, "errors") == {"copiers": [(4, 3.0, 3.0, 3.0), (9, 1.0, 0.5, 2.0)]}
    assert not draw_series(described, [outcome("few", 9), outcomes[2]], "errors", place / "series.png")
    assert not (place / "series.png").exists()


def test_a_series_may_differ_in_something_else(place: Path) -> None:
    text = EXPERIMENT.replace("[evaluate]", 'axis = "hours"\n[evaluate]', 1)
    for label, hours in (("few", 0.5), ("many", 3)):
        text = text.replace(f'label = "{label}"', f'label = "{label}"\nseries = "copiers"\nat = {hours}')
    recipe = parse_recipe(RECIPE, "copier.toml", [])
    score = {"parameters": 5, "result": {"metrics": {"errors": {"value": 2.0, "low": 1.0, "high": 3.0}}}}
    outcomes = [Outcome(Run(label, recipe, place / label), score) for label in ("many", "few")]
    found = points(parse_comparison(text, "mistakes.toml"), outcomes, "errors")
    assert found == {"copiers": [(0.5, 2.0, 1.0, 3.0), (3.0, 2.0, 1.0, 3.0)]}


@pytest.mark.parametrize("given", ['series = "copiers"', "at = 1", 'series = "copiers"\nat = 1'])
def test_a_place_on_the_axis_goes_with_an_axis(given: str) -> None:
    axis = 'axis = "hours"\n' if "at" not in given else ""
    text = axis + EXPERIMENT.replace('label = "few"', f'label = "few"\n{given}')
    with pytest.raises(UsageError, match=r"variant 'few': at: its place on the axis goes with axis and series"):
        parse_comparison(text, "mistakes.toml")


def test_groups_in_text_and_markdown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(place, 'split = "dev"', 'split = "dev"\noptions = { group = "length", size = "24" }')
    assert experiment("training.epochs=1") == 0
    out = capsys.readouterr().out
    assert out.startswith("Do fewer mistakes help?\n")
    assert "accuracy by group" in out
    heading = next(line for line in out.splitlines() if "0-4" in line)
    assert heading.split("  ")[0] == "variant"
    assert heading.index("0-4 (n 10)") < heading.index("5-12 (n 14)")
    assert (
        out.rstrip()
        .splitlines()[-1]
        .startswith("nrefs:1|case:mixed|tok:space|data:words|split:dev|set:group=length,size=24|refs:")
    )

    assert experiment("training.epochs=1", "--limit", "24", "--format", "markdown") == 0
    page = capsys.readouterr().out
    lines = page.splitlines()
    assert lines[:3] == [
        "# Do fewer mistakes help?",
        "",
        "    condgen comparison run mistakes.toml training.epochs=1 --limit 24",
    ]
    assert "| variant | parameters | accuracy | n | tokens/s | training s |" in lines
    assert "| --- | ---: | ---: |" in lines
    assert any(line.startswith("| few | 1 | 79") and " ±" in line for line in lines)
    assert "All variants: recipe `copier.toml`; settings `training.lr=0.1`." in lines
    assert "- many: no further settings" in lines
    assert "- few: `model.errors=5`" in lines
    assert str(place) not in page


def test_experiments_of_plugins(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["experiment", "ls"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split(maxsplit=2) == ["named", "copy", "Errors, many and few."]
    assert run(["experiment", "ls", "--format", "json"]) == 0
    listed: list[Any] = json.loads(capsys.readouterr().out)["experiments"]
    assert {"name": "named", "task": "copy", "help": "Errors, many and few."} in listed
    assert run(["experiment", "show", "named"]) == 0
    assert capsys.readouterr().out.strip() == EXPERIMENT.replace("mistakes", "named", 1).strip()
    assert run(["experiment", "show", "named", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["variants"][1]["settings"] == ["model.errors=5"]
    assert experiment("--only", "few", "training.epochs=1", name="named") == 0
    assert (place / "runs/comparisons/named/few/evaluation.json").is_file()
    assert run(["experiment", "show", "lost"]) == 5
    assert "cannot read the comparison lost" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ("question =", "qestion =", 2, "mistakes.toml: question: missing"),
        ('label = "few"', 'lable = "few"', 2, "mistakes.toml: variants.1.label: missing"),
        ('label = "few"', 'label = "few"\nsetings = []', 2, "mistakes.toml: variants.1.setings: unknown key"),
        ('split = "dev"', 'splt = "dev"', 2, "mistakes.toml: evaluate.splt: unknown key"),
        ('label = "few"', 'label = "Many"', 2, "mistakes.toml: two variants are called 'Many'"),
        ('label = "few"', 'label = "../few"', 2, "mistakes.toml: variants.1.label: string should match"),
        ("question =", "seeds = [1, 1]\nquestion =", 2, "mistakes.toml: seeds: there are two of 1"),
        ("training.lr=0.1", "seed=3", 0, ""),
        (
            'settings = ["training.lr',
            'seeds = [1]\nsettings = ["seed=3", "training.lr',
            2,
            "variant many: the comparison gives",
        ),
        ('recipe = "copier.toml"', "", 2, "mistakes.toml: variant 'many' has no recipe"),
        ("copier.toml", "missing.toml", 3, "no recipe missing.toml"),
        (
            "model.errors=5",
            "training.lr=x",
            2,
            "variant few: copier.toml: training.lr: input should be a valid number",
        ),
        ("model.errors=5", "model.errors", 2, "variant few: 'model.errors' is not of the form"),
        ('dataset = "words"', 'dataset = "wards"', 3, "no data set named 'wards'"),
        ('dataset = "words"\nsplit = "dev"', 'dataset = "others"', 2, "data set others is for other, variant many for copy"),
        ('split = "dev"', 'split = "train"', 2, "data set words has no split 'train'"),
        ('split = "dev"', 'options = { grup = "length" }', 2, "data set words has no option 'grup'"),
        ('split = "dev"', 'options = { size = "0" }', 1, "split test of data set words has no items"),
        ('split = "dev"', 'metrics = ["acuracy"]', 3, "no metric named 'acuracy'"),
        ("[evaluate]", "[evaluate", 2, "mistakes.toml: expected ']'"),
        ("question =", "variants = 3\nquestion =", 2, "mistakes.toml: "),
    ],
)
def test_a_wrong_file_is_one_line_before_anything_is_trained(
    old: str, new: str, code: int, message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(place, old, new)
    assert experiment("--format", "json", "training.epochs=1") == code
    if code:
        printed = capsys.readouterr()
        assert json.loads(printed.out)["error"]["message"].startswith(message)
        assert printed.err.startswith(f"error: {message}")
        assert not printed.err.rstrip().endswith("known:")
        assert trained(place) == []


def test_wrong_arguments(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment("--only", "fw") == 3
    assert "no variant named 'fw'" in capsys.readouterr().err
    assert run(["experiment", "run", "missing.toml"]) == 3
    assert "no comparison missing.toml" in capsys.readouterr().err
    assert run(["experiment", "run", "naned"]) == 3
    assert "did you mean: named" in capsys.readouterr().err
    assert run(["experiment", "run", "mistakes.toml", "--data-dir", "nowhere"]) == 3
    assert "no folder nowhere" in capsys.readouterr().err
    assert trained(place) == []


_TEXT = st.text("ab '\n.", max_size=5)
_KEYS = ["name", "question", "recipe", "settings", "seeds", "evaluate", "variants", "other"]
_VALUES = st.one_of(
    st.integers(), _TEXT, st.lists(st.one_of(st.integers(), _TEXT, st.sampled_from([{"label": "a"}, {"label": 1}])), max_size=3)
)


@given(st.dictionaries(st.sampled_from(_KEYS), _VALUES))
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_any_other_file_is_a_usage_error(values: dict[str, Any]) -> None:
    def toml(value: Any) -> str:
        if isinstance(value, dict):
            return f"{{ label = {toml(value['label'])} }}"
        return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)

    text = "\n".join(f"{key} = {toml(value)}" for key, value in values.items())
    with pytest.raises(UsageError) as caught:  # evaluate is never a table here
        parse_comparison(text, "any.toml")
    assert caught.value.message.startswith("any.toml: ")
    assert "\n" not in caught.value.message
