from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from condgen_cli.errors import CondgenError, IntegrityError, NotFoundError, UsageError
from condgen_cli.training import Interrupted, Summary, parse_recipe, train

EVERYTHING = (
    "training.average=ema",
    "training.schedule=cosine",
    "training.warmup=3",
    "training.evaluate_every=4",
    "training.accumulate=2",
    "training.patience=9",
    "training.weight_decay=0.1",
    "training.lr_multipliers={gru = 0.1}",
)
PLATEAU = (
    "training.average=last-2",
    "training.schedule=plateau",
    "training.optimizer=sgd",
    "training.patience=2",
    "training.epochs=9",
    "training.lr=0.0001",
)


def run(toy: ModuleType, path: Path, *overrides: str, resume: bool = False, **attributes: Any) -> tuple[Summary, Any]:
    recipe = parse_recipe(toy.RECIPE, "toy.toml", overrides)
    experiment = toy.Experiment(recipe)
    for name, value in attributes.items():
        setattr(experiment, name, value)
    return train(recipe, experiment, path, resume, device="cpu"), experiment


def records(path: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    lines = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "tokens_per_second"} for line in lines]


def checkpoint(path: Path) -> Path:
    (directory,) = (path / "checkpoints").iterdir()
    return directory


def assert_same_run(one: Path, two: Path) -> None:
    """Equal to the bit: the model, the log, and all that the last checkpoint holds."""
    assert records(one) == records(two)
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    states = [json.loads((checkpoint(path) / "state.json").read_text()) for path in (one, two)]
    for state in states:
        del state["seconds"]
        state["sums"].pop("seconds", None)
    assert states[0] == states[1]
    names = {file.name for file in checkpoint(one).glob("*.safetensors")}
    assert names == {file.name for file in checkpoint(two).glob("*.safetensors")}
    for name in names:
        tensors, others = load_file(checkpoint(one) / name), load_file(checkpoint(two) / name)
        assert tensors.keys() == others.keys()
        assert all(torch.equal(tensors[key], others[key]) for key in tensors)


@pytest.fixture(scope="module")
def without_curve() -> Iterator[None]:
    """Drawing takes longer than the toy's training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("condgen_cli.training.loop.draw_curve", lambda *arguments: None)
        yield


@pytest.fixture(scope="module")
def references(toy: ModuleType, tmp_path_factory: pytest.TempPathFactory, without_curve: None) -> dict[tuple[str, ...], Path]:
    """Uninterrupted runs."""
    paths = {overrides: tmp_path_factory.mktemp("reference") / "run" for overrides in ((), EVERYTHING, PLATEAU)}
    for overrides, path in paths.items():
        run(toy, path, *overrides)
    return paths


def test_learns_and_leaves_a_loadable_model_log_and_curve(toy: ModuleType, tmp_path: Path) -> None:
    summary, experiment = run(toy, tmp_path / "run", "data.batches=50", "training.batch_size=16")

    assert summary.best is not None
    assert summary.best > 95
    assert summary.steps == 150
    assert summary.stopped == "epochs"
    losses = [record["loss"] for record in records(tmp_path / "run") if "loss" in record]
    assert losses[-1] < 0.5 < losses[0]
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")
    exported = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(exported[name], tensor) for name, tensor in experiment.exports[-1].items())


@pytest.mark.usefixtures("without_curve")
def installed(toy: ModuleType, folder: Path) -> dict[str, str]:
    """The environment of a command that finds the toy's plugin, with its recipe in ``folder``."""
    plugin = folder / "plugin"
    metadata = plugin / "toy-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[condgen]\ntoy = toy\n")
    (plugin / "toy.py").write_bytes(Path(toy.__file__ or "").read_bytes())
    (folder / "toy.toml").write_text(toy.RECIPE)
    paths = os.pathsep.join([str(plugin), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "CONDGEN_HOME": str(folder / "home")}


class TestTraining:
    def test_the_log_is_a_mean_over_tokens_since_the_last_line(self, toy: ModuleType, tmp_path: Path) -> None:
        run(toy, tmp_path / "fine", "training.log_every=1", "training.epochs=1")
        run(toy, tmp_path / "coarse", "training.log_every=5", "training.epochs=1")

        fine = [record for record in records(tmp_path / "fine") if "loss" in record]
        (coarse,) = [record for record in records(tmp_path / "coarse") if "loss" in record]
        assert coarse["loss"] == pytest.approx(sum(record["loss"] for record in fine) / 5)
        assert coarse["squared"] == pytest.approx(sum(record["squared"] for record in fine) / 5)

    def test_accumulating_equals_one_large_batch(self, toy: ModuleType, tmp_path: Path) -> None:
        class Halves(toy.Experiment):  # type: ignore[name-defined, misc]
            def batches(self, epoch: int) -> list[dict[str, torch.Tensor]]:
                whole = [batch["digits"] for batch in super().batches(epoch)]
                return [{"digits": half} for digits in whole for half in digits.chunk(2)]

        # Batch normalisation would tell halves from wholes.
        settings = ("training.epochs=1", "model.dropout=0.0", "training.optimizer=sgd")
        weights = []
        for kind, accumulate in ((toy.Experiment, 1), (Halves, 2)):
            recipe = parse_recipe(toy.RECIPE, "toy.toml", (*settings, f"training.accumulate={accumulate}"))
            experiment = kind(recipe)
            experiment.objective.normalise = torch.nn.Identity()
            summary = train(recipe, experiment, tmp_path / str(accumulate), device="cpu")
            assert summary.steps == 5
            weights.append(experiment.objective.state_dict())
        assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-6) for name in weights[0])

    def test_learning_rate_multipliers_take_the_longest_prefix(self, toy: ModuleType, tmp_path: Path) -> None:
        settings = ("training.epochs=1", "training.optimizer=sgd", "training.momentum=0.0", "training.clip=0", "data.batches=1")
        changes = []
        for multipliers in ("{}", '{gru = 0.5, "gru.weight" = 0.25, "gru.weight_ih" = 0.0}'):
            recipe = parse_recipe(toy.RECIPE, "toy.toml", (*settings, f"training.lr_multipliers={multipliers}"))
            experiment = toy.Experiment(recipe)
            before = {name: tensor.clone() for name, tensor in experiment.objective.named_parameters()}
            train(recipe, experiment, tmp_path / str(len(changes)), device="cpu")
            changes.append({name: tensor - before[name] for name, tensor in experiment.objective.named_parameters()})
        plain, scaled = changes
        for name, factor in {
            "gru.bias_hh_l0": 0.5,
            "gru.weight_hh_l0": 0.25,
            "gru.weight_ih_l0": 0.0,
            "output.weight": 1.0,
        }.items():
            assert torch.allclose(scaled[name], factor * plain[name], atol=1e-7)

    def test_progress_runs_from_0_towards_1(self, toy: ModuleType, tmp_path: Path) -> None:
        _, experiment = run(toy, tmp_path / "run", "training.epochs=2")

        assert experiment.objective.progress == pytest.approx([step / 10 for step in range(10)])

    def test_evaluates_every_n_steps_and_at_the_end(self, toy: ModuleType, tmp_path: Path) -> None:
        run(toy, tmp_path / "run", "training.evaluate_every=6", "training.epochs=2")

        assert [record["step"] for record in records(tmp_path / "run") if "dev" in record] == [6, 10]


@pytest.mark.usefixtures("without_curve")
class TestSelection:
    def test_stops_after_patience_and_keeps_the_best_model(self, toy: ModuleType, tmp_path: Path) -> None:
        scores = [10.0, 30.0, 20.0, 29.0, 99.0]
        summary, experiment = run(toy, tmp_path / "run", "training.epochs=5", "training.patience=2", scores=scores)

        assert summary.stopped == "patience"
        assert (summary.best, summary.best_step, summary.epochs) == (30.0, 10, 4)
        assert len(experiment.exports) == 2

    def test_a_metric_that_should_fall(self, toy: ModuleType, tmp_path: Path) -> None:
        summary, _ = run(toy, tmp_path / "run", "training.mode=min", scores=[3.0, 1.0, 2.0])

        assert (summary.best, summary.best_step) == (1.0, 10)

    def test_a_metric_that_is_not_a_number_is_never_the_best(self, toy: ModuleType, tmp_path: Path) -> None:
        summary, experiment = run(toy, tmp_path / "run", scores=[float("nan"), 5.0, float("nan")])

        assert (summary.best, summary.best_step) == (5.0, 10)
        assert len(experiment.exports) == 1

    def test_the_plateau_lowers_the_learning_rate(self, toy: ModuleType, tmp_path: Path) -> None:
        scores = [5.0, 4.0, 4.0, 4.0]
        settings = ("training.schedule=plateau", "training.floor=0.3", "training.epochs=4", "training.log_every=5")
        run(toy, tmp_path / "run", *settings, scores=scores)

        rates = [record["lr"] for record in records(tmp_path / "run") if "lr" in record]
        assert rates == pytest.approx([0.01, 0.01, 0.005, 0.003])

    def test_exports_the_average_and_trains_on_with_the_latest(self, toy: ModuleType, tmp_path: Path) -> None:
        seen: list[torch.Tensor] = []

        class Watching(toy.Experiment):  # type: ignore[name-defined, misc]
            def batches(self, epoch: int) -> Any:
                seen.append(self.objective.output.weight.detach().clone())
                return super().batches(epoch)

        recipe = parse_recipe(toy.RECIPE, "toy.toml", ("training.average=last-2",))
        experiment = Watching(recipe)
        experiment.scores = [1.0, 2.0, 3.0]
        train(recipe, experiment, tmp_path / "run", device="cpu")

        exported = [weights["output.weight"] for weights in experiment.exports]
        assert torch.equal(exported[0], seen[1])
        assert torch.allclose(exported[1], (seen[1] + seen[2]) / 2)
        assert torch.allclose(exported[2], (seen[2] + experiment.objective.output.weight) / 2)


@pytest.mark.usefixtures("without_curve")
class TestResume:
    @pytest.mark.parametrize("batch", [1, 5, 8])
    @pytest.mark.parametrize("overrides", [(), EVERYTHING, PLATEAU], ids=["plain", "everything", "plateau"])
    def test_interrupted_in_training(
        self, toy: ModuleType, tmp_path: Path, references: dict[Any, Path], overrides: tuple[str, ...], batch: int
    ) -> None:
        path = tmp_path / "run"
        with pytest.raises(Interrupted, match="a checkpoint is saved") as caught:
            run(toy, path, *overrides, interrupt_batch=batch)
        assert caught.value.exit_code == 130
        run(toy, path, *overrides, resume=True)

        assert_same_run(path, references[overrides])

    @pytest.mark.parametrize("overrides", [EVERYTHING, PLATEAU], ids=["everything", "plateau"])
    def test_interrupted_in_evaluation(
        self, toy: ModuleType, tmp_path: Path, references: dict[Any, Path], overrides: tuple[str, ...]
    ) -> None:
        path = tmp_path / "run"
        with pytest.raises(Interrupted):
            run(toy, path, *overrides, interrupt_evaluation=2)
        run(toy, path, *overrides, resume=True)

        assert_same_run(path, references[overrides])

    def test_sigint_is_as_before_afterwards(self, toy: ModuleType, tmp_path: Path) -> None:
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(Interrupted):
            run(toy, tmp_path / "run", interrupt_batch=2)
        assert signal.getsignal(signal.SIGINT) is before

    def test_killed_in_the_middle_of_an_epoch(self, toy: ModuleType, tmp_path: Path, references: dict[Any, Path]) -> None:
        """A real ``condgen train`` of a plugin's architecture, ``kill -9``, and ``--resume`` in another process."""
        overrides = [*EVERYTHING, "training.checkpoint_every=1"]
        environment = installed(toy, tmp_path)
        command = [sys.executable, "-m", "condgen_cli", "train", "toy.toml", *overrides, "--device", "cpu", "--format", "json"]

        process = subprocess.Popen(command, cwd=tmp_path, env=environment | {"TOY_HANG": "9"}, stderr=subprocess.PIPE)
        while not (tmp_path / "hanging").exists():
            assert process.poll() is None, process.communicate()[1].decode()
            time.sleep(0.05)
        process.kill()
        process.communicate()
        done = subprocess.run(
            [*command, "--resume"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert (summary["run_dir"], summary["steps"]) == ("runs/toy", 9)
        assert "\x1b" not in done.stderr
        assert "epoch 2  step 4" not in done.stderr
        assert "epoch 3  step 9" in done.stderr
        assert_same_run(tmp_path / "runs" / "toy", references[EVERYTHING])

    def test_several_processes_are_one_run(self, toy: ModuleType, tmp_path: Path) -> None:
        """Five batches are two rounds for two processes; one of them reports, and what it wrote can be resumed."""
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "condgen_cli"]
        train = ["train", "toy.toml", "--data-dir", ".", "--device", "cpu", "--format", "json"]
        environment = installed(toy, tmp_path)

        def run(*command: str) -> subprocess.CompletedProcess[str]:
            whole = [sys.executable, *command]
            return subprocess.run(whole, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

        fault = run("-m", "condgen_cli", *train, "training.metric=none", "--processes", "2")
        assert fault.returncode == 2, fault.stderr
        assert fault.stderr == "error: training.metric: no dev metric named 'none'\nhint: known: accuracy, loss\n"
        assert not (tmp_path / "runs").exists()
        resumed = ["-m", "condgen_cli", *train, "training.epochs=4", "--resume", "--processes", "2"]
        for command, epochs in (([*launcher, *train], 3), (resumed, 4)):
            done = run(*command)
            assert done.returncode == 0, done.stderr
            summary = json.loads(done.stdout)
            assert (summary["epochs"], summary["steps"]) == (epochs, 2 * epochs)
            evaluated = [record for record in records(tmp_path / "runs" / "toy") if "dev" in record]
            assert [record["step"] for record in evaluated] == [2 * epoch for epoch in range(1, epochs + 1)]

    def test_a_finished_run_can_be_made_longer(self, toy: ModuleType, tmp_path: Path) -> None:
        path = tmp_path / "run"
        run(toy, path, "training.epochs=1")
        summary, experiment = run(toy, path, "training.epochs=1", resume=True)
        assert (summary.steps, experiment.drawn) == (5, 0)

        summary, experiment = run(toy, path, "training.epochs=2", resume=True)
        assert (summary.steps, experiment.drawn) == (10, 5)
        run(toy, tmp_path / "longer", "training.epochs=2")
        assert_same_run(path, tmp_path / "longer")

    def test_a_run_without_a_checkpoint_starts_from_the_beginning(
        self, toy: ModuleType, tmp_path: Path, references: dict[Any, Path]
    ) -> None:
        path = tmp_path / "run"
        path.mkdir()
        (path / "recipe.json").write_text(parse_recipe(toy.RECIPE, "toy.toml").to_json())
        (path / "log.jsonl").write_text('{"step": 2, "loss": 9.0}\n{"step": 4, "lo')
        run(toy, path, resume=True)

        assert_same_run(path, references[()])

    def test_a_partial_checkpoint_is_no_checkpoint(self, toy: ModuleType, tmp_path: Path, references: dict[Any, Path]) -> None:
        path = tmp_path / "run"
        with pytest.raises(Interrupted):
            run(toy, path, interrupt_batch=7)
        partial = path / "checkpoints" / "000099.partial"
        partial.mkdir()
        (partial / "state.json").write_text("{")
        run(toy, path, resume=True)

        assert_same_run(path, references[()])


@pytest.mark.usefixtures("without_curve")
class TestFaults:
    def test_a_run_is_not_overwritten(self, toy: ModuleType, tmp_path: Path) -> None:
        path = tmp_path / "run"
        run(toy, path, "training.epochs=1")
        log = (path / "log.jsonl").read_bytes()
        with pytest.raises(UsageError, match="holds a run already") as caught:
            run(toy, path)
        assert "--resume" in str(caught.value.hint)
        assert (path / "log.jsonl").read_bytes() == log

    def test_force_starts_anew_and_leaves_other_files_alone(
        self, toy: ModuleType, tmp_path: Path, references: dict[Any, Path]
    ) -> None:
        path = tmp_path / "run"
        run(toy, path, "training.lr=0.1", "training.epochs=4")
        (path / "notes.txt").write_text("mine")
        recipe = parse_recipe(toy.RECIPE, "toy.toml")
        train(recipe, toy.Experiment(recipe), path, force=True, device="cpu")

        assert (path / "notes.txt").read_text() == "mine"
        assert_same_run(path, references[()])

    def test_nothing_to_resume(self, toy: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError, match="no run to resume"):
            run(toy, tmp_path / "run", resume=True)
        assert not (tmp_path / "run").exists()

    def test_resuming_with_another_recipe_names_the_difference(self, toy: ModuleType, tmp_path: Path) -> None:
        run(toy, tmp_path / "run", "training.epochs=1")
        with pytest.raises(UsageError, match=r"training\.lr = 0\.01, the recipe says 0\.5"):
            run(toy, tmp_path / "run", "training.epochs=1", "training.lr=0.5", resume=True)

    @pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS"])
    @pytest.mark.parametrize("damage", ["cut", "flip", "remove"])
    def test_a_damaged_checkpoint_is_refused(self, toy: ModuleType, tmp_path: Path, name: str, damage: str) -> None:
        path = tmp_path / "run"
        with pytest.raises(Interrupted):
            run(toy, path, interrupt_batch=2)
        file = checkpoint(path) / name
        content = file.read_bytes()
        if damage == "remove":
            file.unlink()
        else:
            middle = len(content) // 2
            file.write_bytes(content[:middle] if damage == "cut" else content[:middle] + b"\xff" + content[middle + 1 :])
        with pytest.raises(IntegrityError, match="is damaged"):
            run(toy, path, resume=True)

    def test_a_loss_that_is_not_a_number(self, toy: ModuleType, tmp_path: Path) -> None:
        class Exploding(toy.Experiment):  # type: ignore[name-defined, misc]
            def batches(self, epoch: int) -> Any:
                self.objective.scale = 1.0 if epoch < 2 else float("nan")
                return super().batches(epoch)

        recipe = parse_recipe(toy.RECIPE, "toy.toml")
        with pytest.raises(CondgenError, match=r"the loss is nan at step 11 \(epoch 3\)") as caught:
            train(recipe, Exploding(recipe), tmp_path / "run", device="cpu")
        assert "checkpoint" in str(caught.value.hint)
        assert json.loads((checkpoint(tmp_path / "run") / "state.json").read_text())["step"] == 10

    def test_weights_beyond_all_measure_replace_no_good_ones(self, toy: ModuleType, tmp_path: Path) -> None:
        class Exploding(toy.Experiment):  # type: ignore[name-defined, misc]
            def batches(self, epoch: int) -> Any:
                if epoch == 1:
                    with torch.no_grad():
                        self.objective.output.bias[0] = 1e20
                return super().batches(epoch)

        recipe = parse_recipe(toy.RECIPE, "toy.toml", ["training.checkpoint_every=1"])
        with pytest.raises(CondgenError, match=r"diverged: the largest weight of output.bias is 1e\+20 at step 6"):
            train(recipe, Exploding(recipe), tmp_path / "run", device="cpu")
        assert json.loads((checkpoint(tmp_path / "run") / "state.json").read_text())["step"] == 5

    def test_a_run_that_has_nothing_to_go_on_from_is_in_nobody_s_way(self, toy: ModuleType, tmp_path: Path) -> None:
        class Exploding(toy.Experiment):  # type: ignore[name-defined, misc]
            def batches(self, epoch: int) -> Any:
                self.objective.scale = float("nan")
                return super().batches(epoch)

        recipe = parse_recipe(toy.RECIPE, "toy.toml")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "notes.txt").write_text("mine")
        with pytest.raises(CondgenError, match="the loss is nan at step 1"):
            train(recipe, Exploding(recipe), tmp_path / "run", device="cpu")
        assert [file.name for file in (tmp_path / "run").iterdir()] == ["notes.txt"]
        run(toy, tmp_path / "run", "training.epochs=1")

    def test_a_folder_with_files_of_another_kind_is_left_alone(self, toy: ModuleType, tmp_path: Path) -> None:
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
        (tmp_path / "run" / "checkpoints" / "other.pt").write_text("mine")
        with pytest.raises(UsageError, match="its checkpoints would be replaced"):
            run(toy, tmp_path / "run")
        assert (tmp_path / "run" / "checkpoints" / "other.pt").read_text() == "mine"

    @pytest.mark.parametrize(("overrides", "warmup", "steps"), [([], 3, 15), (["training.batch_size=2"], 3, 15)])
    def test_a_warmup_that_fits_is_as_it_is_given(
        self, overrides: list[str], warmup: int, steps: int, toy: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(toy, tmp_path / "run", *overrides, f"training.warmup={warmup}")
        err = capsys.readouterr().err
        assert f"{steps} steps in all" in err
        assert "warning" not in err
        assert json.loads((checkpoint(tmp_path / "run") / "state.json").read_text())["warmup"] == warmup

    def test_a_warmup_longer_than_the_training_is_shortened_and_told(
        self, toy: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run(toy, tmp_path / "run", "training.warmup=200", "training.epochs=6")
        err = capsys.readouterr().err
        assert "training on 5 batches of at most 4 an epoch, 30 steps in all" in err
        assert "warning: a warm-up of 200 steps is more than half of the training, so it is shortened to 3" in err
        rates = [record["lr"] for record in records(tmp_path / "run") if "lr" in record]
        assert max(rates) == pytest.approx(0.01)

    def test_a_metric_that_is_known_to_be_missing_is_told_before_anything(self, toy: ModuleType, tmp_path: Path) -> None:
        recipe = parse_recipe(toy.RECIPE, "toy.toml", ["training.metric=wer"])
        experiment = toy.Experiment(recipe)
        experiment.dev_metrics = ("accuracy", "loss")
        with pytest.raises(UsageError, match="no dev metric named 'wer'"):
            train(recipe, experiment, tmp_path / "run", device="cpu")
        assert experiment.drawn == experiment.evaluations == 0
        assert not (tmp_path / "run").exists()

    def test_a_metric_that_is_not_measured(self, toy: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no dev metric named 'bleu'") as caught:
            run(toy, tmp_path / "run", "training.metric=bleu")
        assert caught.value.hint == "known: accuracy, loss"

    def test_half_precision_on_a_cpu(self, toy: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="bf16 needs a GPU"):
            run(toy, tmp_path / "run", "training.precision=bf16")

    def test_a_multiplier_that_fits_no_parameter(self, toy: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no parameter starts with 'encoder'") as caught:
            run(toy, tmp_path / "run", "training.lr_multipliers.encoder=0.1")
        assert "embedding" in str(caught.value.hint)

    def test_an_epoch_without_batches(self, toy: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no batch"):
            run(toy, tmp_path / "run", "data.batches=0")
        assert not (tmp_path / "run").exists()

    def test_an_epoch_shorter_than_it_says(self, toy: ModuleType, tmp_path: Path) -> None:
        class Short(list[Any]):
            def __len__(self) -> int:
                return 7

        recipe = parse_recipe(toy.RECIPE, "toy.toml")
        experiment = toy.Experiment(recipe)
        batches = list(experiment.batches(0))[:3]
        experiment.batches = lambda epoch: Short(batches)
        with pytest.raises(UsageError, match="epoch 1 ended after 3 batches of 7"):
            train(recipe, experiment, tmp_path / "run", device="cpu")
