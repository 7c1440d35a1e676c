"""Recipes with stages: what they say, and that one command trains them all, whatever interrupts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from condgen_cli.cli.app import run as condgen
from condgen_cli.errors import UsageError
from condgen_cli.registry import plugins
from condgen_cli.training import Stages, find_recipe, parse_recipe, parse_stages

TWO = """
description = "A model in two parts."
name = "small"
task = "caption"
[model]
architecture = "caption"
units = 512
[data]
dataset = "flickr8k"
options = { a = "1" }
[training]
epochs = 4
metric = "bleu4"

[[stages]]
name = "words"
init = ""
seed = 5
[stages.model]
architecture = "other"
size = 3
[stages.data]
text = "books"

[[stages]]
name = "whole"
init = ""
[stages.model]
units = ""
[stages.data]
language_model = "stage:words"
[stages.training]
lr_multipliers = { encoder = 0.5 }

[[stages]]
name = "reward"
[stages.training]
epochs = 2
"""


def parse(*overrides: str, text: str = TWO, **options: Any) -> Stages:
    return parse_stages(text, "small.toml", overrides, **options)


class TestRecipe:
    def test_a_stage_is_the_top_level_but_for_what_it_says(self) -> None:
        stages = parse()
        words, whole, reward = (stage.recipe for stage in stages.stages)
        assert (stages.name, stages.description, stages.single) == ("small", "A model in two parts.", False)
        assert [stage.folder for stage in stages.stages] == ["1-words", "2-whole", "3-reward"]
        assert (words.seed, words.init, words.training.epochs) == (5, None, 4)
        assert words.model.model_dump() == {"architecture": "other", "size": 3}
        assert words.data.model_dump() == {"dataset": "flickr8k", "options": {"a": "1"}, "text": "books"}
        assert (whole.init, whole.model.options) == (None, {})
        assert stages.stages[1].references == ["words"]
        assert (reward.init, reward.training.epochs, reward.training.lr_multipliers) == ("stage:whole", 2, {})
        assert reward.model.options == {"units": 512}

    def test_overrides_are_of_all_stages_or_of_one(self) -> None:
        first = ("training.epochs=9", "stages.2.training.epochs=1", "stages.reward.model.units=7", "data.options.a=2")
        words, whole, reward = (stage.recipe for stage in parse(*first, "model.units=3", "init=sat", "seed=8").stages)
        assert [recipe.training.epochs for recipe in (words, whole, reward)] == [9, 1, 9]
        assert [recipe.model.options for recipe in (words, whole, reward)] == [{"size": 3}, {"units": 3}, {"units": 7}]
        assert {recipe.data.options["options"]["a"] for recipe in (words, whole, reward)} == {"2"}
        assert {recipe.seed for recipe in (words, whole, reward)} == {8}
        assert [recipe.init for recipe in (words, whole, reward)] == ["sat", None, "stage:whole"]
        assert parse("init=sat", first="reward").stages[2].recipe.init == "sat"

    def test_what_is_written_reads_back(self) -> None:
        stages = parse("training.epochs=9", "stages.2.init=sat")
        assert parse_stages(stages.to_json(), "recipe.json") == stages

    def test_a_stage_alone_is_a_recipe(self) -> None:
        recipe = parse_recipe(TWO, "small.toml", ["training.epochs=3"], stage="words")
        assert (recipe.name, recipe.model.architecture, recipe.training.epochs) == ("small", "other", 3)
        assert parse_recipe(TWO, "small.toml", ["init="], stage="reward").init is None
        with pytest.raises(UsageError, match="stage reward needs the run of stage whole"):
            parse_recipe(TWO, "small.toml", stage="reward")
        with pytest.raises(UsageError, match=r"small\.toml has stages") as caught:
            parse_recipe(TWO, "small.toml")
        assert caught.value.hint == "name one: words, whole, reward"

    @pytest.mark.parametrize(
        ("overrides", "message", "hint"),
        [
            (["stages.4.seed=1"], "small.toml has no stage '4'", "its stages: words, whole, reward"),
            (["stages.rewards.seed=1"], "small.toml has no stage 'rewards'", "did you mean: reward, words"),
            (["stages.1.training.epoch=1"], "small.toml: stages.words.training.epoch: unknown key", "did you mean: epochs"),
            (["training.epochs=0"], "small.toml: stages.words.training.epochs: input should be greater", None),
            (["stages.1=3"], "stages.1 is not a setting of a stage", "stages.words.training.epochs=3"),
            (["stages.2.init='stage:reward'"], "stage:reward is not an earlier stage", "earlier stages: words"),
            (["stages.1.task=qa"], "all stages of a recipe must have the same task", None),
        ],
    )
    def test_faults_are_told_with_the_stage(self, overrides: list[str], message: str, hint: str | None) -> None:
        with pytest.raises(UsageError) as caught:
            parse(*overrides)
        assert message in caught.value.message
        assert hint is None or caught.value.hint == hint

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ('name = "whole"', 'name = "words"', "two stages are called 'words'"),
            ('name = "whole"', 'name = "2"', "stage 2: its name has to be"),
            ("[[stages]]", "[[stagse]]", "cannot declare"),
            ("description", "descripton", "descripton: unknown key"),
            ('"stage:words"', '"stage:reward"', "stage:reward is not an earlier stage"),
            ('description = "A', 'description = 3 # "A', "description: input should be a valid string"),
        ],
    )
    def test_what_is_no_recipe(self, old: str, new: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            parse(text=TWO.replace(old, new))

    def test_other_data_stay_the_data_of_every_stage(self) -> None:
        told: list[str] = []
        stages = parse_stages(*find_recipe("las"), ["data.dataset=audio-folder"], told.append)
        assert {stage.recipe.data.dataset for stage in stages.stages} == {"audio-folder"}
        assert [stage.references for stage in stages.stages[:4]] == [[], [], ["listener", "lm"], ["speller"]]
        phones = stages.find("phones").recipe
        assert "phones" not in phones.model.options
        assert phones.training.lr_multipliers == {}
        assert len(told) == len(set(told)) == 3


Train = Callable[..., tuple[Any, str]]


@pytest.fixture
def train(toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Train:
    """``condgen train`` of the toy's recipe with stages, in this process; also what it printed."""
    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(toy.STAGES)
    manager = plugins.manager()
    for name, hook in (("models", toy.condgen_register_models), ("datasets", toy.condgen_register_datasets)):
        known = {**getattr(manager, name), **{spec.name: spec for spec in hook()}}
        monkeypatch.setattr(type(manager), name, property(lambda self, known=known: known))
    monkeypatch.setattr("condgen_cli.training.loop.draw_curve", lambda *arguments: None)

    def train(*options: str, code: int = 0) -> tuple[Any, str]:
        assert condgen([*TRAIN, *options]) == code
        out, err = capsys.readouterr()
        return json.loads(out), err

    return train


TRAIN = ["train", "toy.toml", "--device", "cpu", "--format", "json"]


def kill(toy: ModuleType, *options: str) -> None:
    """Kill a training in another process as it makes the seventh batch of a stage, which only the second stage has."""
    metadata = Path("plugin/toy-1.0.dist-info")
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[condgen]\ntoy = toy\n")
    Path("plugin/toy.py").write_bytes(Path(toy.__file__ or "").read_bytes())
    paths = os.pathsep.join([str(Path("plugin").absolute()), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CONDGEN_HOME": "home", "TOY_HANG": "7"}
    process = subprocess.Popen([sys.executable, "-m", "condgen_cli", *TRAIN, *options], env=environment, stderr=subprocess.PIPE)
    while not Path("hanging").exists():
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.05)
    process.kill()
    process.communicate()


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


def test_killed_in_a_stage_a_run_goes_on_to_the_same_bits(toy: ModuleType, train: Train) -> None:
    whole, told = train("-o", "whole")
    assert [stage["name"] for stage in whole["stages"]] == ["first", "second", "third"]
    assert (whole["run_dir"], whole["steps"], whole["stages"][1]["steps"]) == ("whole", 5, 10)
    assert "stage 2 of 3, second: training in whole/2-second" in told
    assert weights(Path("whole")) == weights(Path("whole/3-third"))

    kill(toy, "-o", "run")
    run = Path("run")
    assert not (run / "model.json").exists()
    assert not (run / "3-third").exists()
    before = (run / "1-first" / "log.jsonl").stat().st_mtime_ns
    assert "holds a run already" in train("-o", "run", code=2)[1]
    again, told = train("-o", "run", "--resume")
    assert "stage 1 of 3, first: done already" in told
    assert "stage 2 of 3, second: goes on in run/2-second" in told
    assert (run / "1-first" / "log.jsonl").stat().st_mtime_ns == before
    for folder in ("1-first", "2-second", "3-third", "."):
        assert weights(run / folder) == weights(Path("whole") / folder), folder
    assert [stage["best"] for stage in again["stages"]] == [stage["best"] for stage in whole["stages"]]

    # the run may lie elsewhere: its stages name each other, not their folders
    run.rename("moved")
    assert train("-o", "moved", "--resume")[1].count("done already") == 3


def test_interrupted_a_run_goes_on(toy: ModuleType, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    build = toy.Experiment.__init__

    def interrupting(self: Any, recipe: Any, *arguments: Any) -> None:
        build(self, recipe, *arguments)
        if recipe.name == "toy-second":
            self.interrupt_batch = 3

    with monkeypatch.context() as patch:
        patch.setattr(toy.Experiment, "__init__", interrupting)
        assert "interrupted after step 3" in train(code=130)[1]
    assert "the run in runs/toy has stages.first.seed = 3, the recipe says 4" in train("--resume", "seed=4", code=2)[1]
    train("--resume")
    train("-o", "whole")
    assert weights(Path("runs/toy")) == weights(Path("whole"))


def test_one_stage_alone_and_what_was_made_from_it(train: Train) -> None:
    train()
    whole = weights(Path("runs/toy"))
    assert "--force starts it again" in train("--stage", "2", code=2)[1]
    told = train("--stage", "second", "--force", "training.epochs=1")[1]
    assert "stage 2 of 3, second" in told
    assert "third" not in told
    assert weights(Path("runs/toy")) == whole
    assert json.loads(Path("runs/toy/recipe.json").read_text())["stages"][1]["training"]["epochs"] == 1
    summary, told = train("--resume", "stages.2.training.epochs=1")
    assert "stage 2 of 3, second: done already" in told
    assert "stage 3 of 3, third: training" in told
    assert weights(Path("runs/toy")) != whole
    assert (summary["stages"][1]["steps"], summary["stages"][2]["steps"]) == (5, 5)
    summary, told = train("--resume", "stages.2.training.epochs=2")
    assert "stage 2 of 3, second: goes on" in told
    assert weights(Path("runs/toy")) == whole

    told = train("-o", "new", "--stage", "3", code=3)[1]
    assert "stage third starts from the model of stage second, which is not in new" in told
    assert not Path("new").exists()
    train("-o", "new", "--stage", "3", "init=runs/toy/2-second")
    assert weights(Path("new")) == whole


def test_what_fails_before_the_first_step_leaves_nothing_behind(train: Train) -> None:
    for setting, code, message in (
        ("stages.3.model.architecture=none", 3, "no architecture named 'none'"),
        ("stages.third.data.dataset=digit", 3, "no data set named 'digit'"),
        ("training.metric=none", 2, "training.metric: no dev metric named 'none'"),
        ("decoding.bean=3", 2, "decoding.bean: unknown key"),
        ("stages.3.data.batch=3", 2, "stage third: recipe: data.batch: unknown key\nhint: did you mean: batches"),
    ):
        assert message in train(setting, code=code)[1]
        assert not Path("runs/toy").exists()
    assert "no stage '4'" in train("--stage", "4", code=2)[1]
    assert "no run to resume" in train("--resume", code=3)[1]


def test_a_training_begins_with_a_model_a_recipe_or_a_run(train: Train) -> None:
    train()
    first = weights(Path("runs/toy/1-first"))
    # by the name of the run, as if it were one of the zoo
    train("-o", "named", "--stage", "1", "init=toy", "training.lr=1e-9")
    train("-o", "run", "--stage", "1", "init=runs/toy", "training.lr=1e-9")
    assert weights(Path("named/1-first")) == weights(Path("run/1-first")) != first
    for name, message in (
        ("runs/none", "runs/none is not the folder of a training run"),
        ("satt", "no model, recipe or run is called 'satt'\nhint: models: sat; recipes: sat; runs: toy"),
        ("ntm-copy-lstm", "the recipe ntm-copy-lstm has no model in the zoo and no run in runs/ntm-copy-lstm"),
        ("sat", "init: sat is a model for caption, not for count"),
    ):
        assert message in train("-o", "other", f"init={name}", code=2 if name == "sat" else 3)[1]
