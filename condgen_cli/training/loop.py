"""The training loop. A run depends on its recipe alone: on a CPU, an interrupted and resumed run ends with the same bits.

With several processes (``accelerate launch``, ``torchrun``) the batches of an epoch are dealt out in turn, an incomplete last
round is dropped, and the first process evaluates, logs and writes.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, send_to_device, set_seed
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from condgen_cli.arrays.denormals import flush_denormals
from condgen_cli.errors import CondgenError, IntegrityError, UsageError
from condgen_cli.registry.guard import divert_stdout
from condgen_cli.terminal.console import info, warn
from condgen_cli.training.average import make_average, swap_weights
from condgen_cli.training.batches import Epoch
from condgen_cli.training.checkpoint import CheckpointWriter, latest_checkpoint, random_state, restore_random_state
from condgen_cli.training.curve import draw_curve
from condgen_cli.training.display import make_display
from condgen_cli.training.experiment import Experiment
from condgen_cli.training.interruption import Interruption
from condgen_cli.training.library import initial_bundle
from condgen_cli.training.log import Log, read_log
from condgen_cli.training.optimizer import make_optimizer, optimizer_tensors, restore_optimizer, set_learning_rate
from condgen_cli.training.recipe import Recipe
from condgen_cli.training.run import RunDirectory
from condgen_cli.training.schedule import learning_rate_factor
from condgen_cli.training.state import RunState
from condgen_cli.training.summary import Interrupted, Summary
from condgen_cli.training.together import any_process, make_accelerator, sum_over_processes

__all__ = ["train"]

LARGEST = 1e6
"""A larger absolute weight means that the training has diverged."""


@divert_stdout()
def train(
    recipe: Recipe,
    experiment: Experiment,
    run_dir: Path | RunDirectory,
    resume: bool = False,
    *,
    force: bool = False,
    device: str = "auto",
    data_dir: Path | None = None,
) -> Summary:
    """Train until the epochs are done or the dev metric stops improving.

    Args:
        recipe: the settings; ``recipe.model`` and ``recipe.data`` are read by the experiment.
        experiment: result of ``build_experiment``, which seeds its initial weights.
        run_dir: folder of the run, or the object that writes it; it gets ``recipe.json``, ``log.jsonl``, ``curve.png``,
            ``checkpoints/`` and the best model so far.
        resume: continue from the last checkpoint in ``run_dir``, or from the beginning if there is none yet.
        force: start again although ``run_dir`` holds a run.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        data_dir: folder of the data, recorded for resuming the run.
    Raises:
        UsageError: if recipe, experiment, data, device and run folder don't fit; nothing has been written then.
        IntegrityError: if the checkpoint is damaged.
        Interrupted: after SIGINT, once a checkpoint is written.
        CondgenError: if the training diverges; the last checkpoint is kept, and without one the run is removed.
    """
    run = run_dir if isinstance(run_dir, RunDirectory) else RunDirectory(run_dir)
    run.check(recipe, resume, force)
    accelerator = make_accelerator(device, recipe.training.precision)
    with flush_denormals():
        loop = _Loop(recipe, experiment, run, accelerator, resume)
        loop.prepare()
        if accelerator.is_main_process:
            run.begin(recipe, resume, data_dir)
        accelerator.wait_for_everyone()
        try:
            return loop.run()
        except BaseException:
            if loop.is_empty and accelerator.is_main_process:
                run.undo()
            raise


class _Loop:
    def __init__(
        self, recipe: Recipe, experiment: Experiment, run: RunDirectory, accelerator: Accelerator, resume: bool
    ) -> None:
        self.settings = recipe.training
        whole, rest = divmod(self.settings.accumulate, accelerator.num_processes)
        self.accumulate = self.settings.accumulate if rest else whole
        self.resume = resume
        self.name = recipe.name
        self.init = recipe.init
        self.experiment = experiment
        self.run_directory = run
        self.accelerator = accelerator
        self.objective = experiment.objective
        self.optimizer = make_optimizer(self.settings, self.objective)
        self.parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        # As accelerate wraps them, for several processes and half precision.
        self.wrapped: nn.Module = accelerator.prepare_model(self.objective)
        self.scaled_optimizer = accelerator.prepare_optimizer(self.optimizer)
        self.average = make_average(self.settings.average, self.settings.average_decay)
        self.state = RunState()
        # Dropout must differ between processes.
        set_seed(recipe.seed + accelerator.process_index)
        if resume:
            self._restore()
        self.log: Log | None = None
        self.display = make_display(recipe.name, visible=accelerator.is_main_process)
        self.first: Epoch | None = None
        self.saved = self.state.step > 0
        self.interruption = Interruption()

    @property
    def is_empty(self) -> bool:
        """Whether the run has neither a checkpoint to resume from nor a model."""
        return not (self.saved or self.resume or self.state.evaluated)

    def prepare(self) -> None:
        """Check, before anything is written, what would stop the training later; print its size.

        Raises:
            UsageError: if the experiment doesn't measure the dev metric, or an epoch has no batch.
        """
        self._check_metric(self.experiment.dev_metrics)
        if self.state.is_finished(self.settings):
            return
        self.first = self.experiment.batches(self.state.epoch)
        batches, processes = len(self.first), self.accelerator.num_processes
        if not batches:
            material = self.experiment.material or "nothing"
            raise UsageError(f"there is nothing to train on: an epoch of {material} has no batch", "condgen data ls")
        if batches < processes:
            hint = f"set a smaller training.batch_size than {self.settings.batch_size}, or start fewer processes"
            raise UsageError(f"an epoch has {batches} batches for {processes} processes", hint)
        steps = self.settings.epochs * math.ceil(batches // processes / self.accumulate)
        if self.state.warmup is None:
            self.state.warmup = self.settings.warmup if 2 * self.settings.warmup <= steps else steps // 10
        if self.accelerator.is_main_process:
            self._tell_size(batches, steps)

    def _tell_size(self, batches: int, steps: int) -> None:
        warmup = self.settings.warmup
        if self.init and not self.resume:
            others = any(not name.endswith(".safetensors") for name in initial_bundle(self.init).files)
            info(f"training begins with the weights{' and the vocabulary' if others else ''} of {self.init}")
        material = self.experiment.material
        size = f"{batches} {'batch' if batches == 1 else 'batches'} of at most {self.settings.batch_size} an epoch"
        info(f"training on {material + ': ' if material else ''}{size}, {steps} {'step' if steps == 1 else 'steps'} in all")
        if self.state.warmup != warmup:
            warn(
                f"a warm-up of {warmup} steps is more than half of the training, so it is shortened to {self.state.warmup}; "
                f"a smaller training.batch_size or more training.epochs give more steps"
            )

    def _check_metric(self, known: Iterable[str]) -> None:
        if self.settings.metric not in known:
            raise UsageError(f"training.metric: no dev metric named {self.settings.metric!r}", f"known: {', '.join(known)}")

    def run(self) -> Summary:
        if self.accelerator.is_main_process:
            self.log = Log(self.run_directory.log, self.state.step)
        with self.interruption.watch(), self.display:
            # An evaluation is due but not done: it was interrupted.
            if self.state.is_evaluation_due(self.settings) and self.state.evaluated != self.state.step:
                self._evaluate()
                self._save()
            while not self.state.is_finished(self.settings):
                self._train_epoch()
        state = self.state
        if state.best is None:
            raise CondgenError(
                f"the dev metric {self.settings.metric} was never a number, so no model is written",
                "lower training.lr, or choose another training.metric",
            )
        return Summary(
            run_dir=self.run_directory.path,
            steps=state.step,
            epochs=state.epoch,
            stopped="epochs" if state.epoch >= self.settings.epochs else "patience",
            metric=self.settings.metric,
            best=state.best,
            best_step=state.best_step,
            dev=state.best_dev,
            seconds=state.seconds,
        )

    def _train_epoch(self) -> None:
        batches, self.first = self.first or self.experiment.batches(self.state.epoch), None
        share = len(batches) // self.accelerator.num_processes
        if not share:
            raise UsageError(f"an epoch has {len(batches)} batches for {self.accelerator.num_processes} processes")
        self.wrapped.train()
        chunks = self._chunks(batches, share)
        while not self.state.is_finished(self.settings) and (chunk := next(chunks, None)) is not None:
            self._step(chunk, share)
            if self.state.batch >= share:
                self.state.epoch, self.state.batch = self.state.epoch + 1, 0
            self._after_step()
            if self.state.batch == 0:
                return
        if not self.state.is_finished(self.settings):
            raise UsageError(f"epoch {self.state.epoch + 1} ended after {self.state.batch} batches of {share}")

    def _chunks(self, batches: Any, share: int) -> Iterator[list[Any]]:
        """This process's batches, ``accumulate`` at a time, without those that were trained on before the run was resumed."""
        processes = self.accelerator.num_processes
        own = islice(iter(batches), self.accelerator.process_index, share * processes, processes)
        if self.state.batch:
            # Making these batches may draw random numbers; the checkpoint's state already includes them.
            before = random_state()
            for _ in islice(own, self.state.batch):
                pass
            restore_random_state(before)
        while chunk := list(islice(own, self.accumulate)):
            yield chunk

    def _step(self, chunk: list[Any], share: int) -> None:
        began = time.perf_counter()
        self._apply_progress((self.state.epoch + self.state.batch / share) / self.settings.epochs)
        for index, batch in enumerate(chunk, 1):
            accumulating = self.accelerator.no_sync(self.wrapped) if index < len(chunk) else nullcontext()
            with accumulating:
                loss, stats = self.wrapped(send_to_device(batch, self.accelerator.device))
                self._count(loss, stats)
                self.accelerator.backward(loss / len(chunk))
        norm: Any = self.accelerator.clip_grad_norm_(self.parameters, self.settings.clip or math.inf)
        self.gradient_norm = self._finite("norm of the gradient", norm)
        self.scaled_optimizer.step()
        self.scaled_optimizer.zero_grad()
        self.state.step += 1
        self.state.batch += len(chunk)
        self.average.after_step(self.objective, self.state.step)
        seconds = time.perf_counter() - began
        self.state.seconds += seconds
        self._add("seconds", seconds)

    def _apply_progress(self, progress: float) -> None:
        """Set what depends on the share of the training that is done, 0 to 1."""
        settings = self.settings
        factor = learning_rate_factor(
            settings.schedule, progress, self.state.step, self.state.warmup or 0, settings.floor, self.state.plateau
        )
        self.learning_rate = settings.lr * factor
        set_learning_rate(self.optimizer, self.learning_rate)
        self.objective.set_progress(progress)
        self.display.advance(progress)

    def _count(self, loss: Tensor, stats: Mapping[str, Any]) -> None:
        tokens = float(stats["tokens"])
        self._add("tokens", tokens)
        self._add("loss", tokens * self._finite("loss", loss))
        for name, value in stats.items():
            if name not in ("tokens", "loss"):
                self._add(name, tokens * float(value))

    def _add(self, name: str, value: float) -> None:
        self.state.sums[name] = self.state.sums.get(name, 0.0) + value

    def _finite(self, what: str, value: Tensor) -> float:
        number = float(value.detach())
        # Infinite gradients are normal with fp16: its scaler skips such steps.
        if not math.isfinite(number) and not (self.accelerator.scaler and what != "loss"):
            raise self._divergence(f"the {what} is {number} at step {self.state.step + 1} (epoch {self.state.epoch + 1})")
        return number

    def _divergence(self, reason: str) -> CondgenError:
        kept = f"; the last checkpoint is kept in {self.run_directory.checkpoints}" if self.saved else ""
        return CondgenError(f"the training has diverged: {reason}", f"lower training.lr or raise training.warmup{kept}")

    def _check_weights(self) -> None:
        """Make sure that the weights are finite before they are evaluated or replace a good checkpoint."""
        for name, parameter in self.objective.named_parameters():
            largest = float(parameter.detach().abs().max()) if parameter.numel() else 0.0
            if not largest <= LARGEST:
                raise self._divergence(f"the largest weight of {name} is {largest:.3g} at step {self.state.step}")

    def _after_step(self) -> None:
        settings, state = self.settings, self.state
        due = self.state.is_evaluation_due(self.settings)
        if due or state.step % settings.log_every == 0:
            self._write_log()
        if due:
            self._evaluate()
        stop = any_process(self.accelerator, self.interruption.asked)
        if due or stop or (settings.checkpoint_every and state.step % settings.checkpoint_every == 0):
            if not due:
                self._check_weights()
            self._save()
        if stop:
            raise self._interruption()

    def _evaluate(self) -> None:
        state = self.state
        self._check_weights()
        self.average.before_evaluation(self.objective, state.step)
        dev: list[Any] = [None]
        if self.accelerator.is_main_process:
            with swap_weights(self.objective, self.average.weights()):
                dev = [self._measure()]
                if dev[0] is not None and self.state.is_better(dev[0], self.settings):
                    self.run_directory.export(self.experiment)
        broadcast_object_list(dev)
        if dev[0] is None:
            self._save()
            raise self._interruption()
        better = state.judge(dev[0], self.settings)
        self._record({"dev": dev[0], "best": better})
        if self.accelerator.is_main_process:
            draw_curve(read_log(self.run_directory.log), self.settings.metric, self.name, self.run_directory.curve)

    def _measure(self) -> dict[str, float] | None:
        """Dev metrics; None if the user interrupts: an evaluation may take minutes, so it is broken off and repeated later."""
        before = random_state()
        self.objective.eval()
        self.interruption.at_once = True
        try:
            if self.interruption.asked:
                return None
            with torch.no_grad():
                dev = {name: float(value) for name, value in self.experiment.evaluate().items()}
        except KeyboardInterrupt:
            restore_random_state(before)
            return None
        finally:
            self.interruption.at_once = False
            self.objective.train()
        self._check_metric(dev)
        return dev

    def _write_log(self) -> None:
        names = list(self.state.sums)
        totals = torch.tensor([self.state.sums[name] for name in names], dtype=torch.float64, device="cpu")
        sums = dict(zip(names, sum_over_processes(self.accelerator, totals).tolist(), strict=True))
        tokens, seconds = sums.pop("tokens"), sums.pop("seconds") / self.accelerator.num_processes
        means = {name: total / tokens for name, total in sums.items()}
        speed = tokens / seconds if seconds else 0.0
        self._record(
            means | {"lr": self.learning_rate, "gradient_norm": self.gradient_norm, "tokens_per_second": round(speed, 1)}
        )
        self.state.sums = {}

    def _record(self, values: Mapping[str, Any]) -> None:
        epoch = self.state.epoch + (1 if self.state.batch else 0)
        record = {"step": self.state.step, "epoch": epoch, **values}
        if self.log:
            self.log.write(record)
            self.display.show(record)

    def _save(self) -> None:
        writer = CheckpointWriter(self.run_directory.checkpoints)
        main = self.accelerator.is_main_process
        if main:
            writer.begin()
        self.accelerator.wait_for_everyone()
        writer.tensors(f"random-{self.accelerator.process_index}", random_state())
        self.accelerator.wait_for_everyone()
        if main:
            scaler = self.accelerator.scaler
            self.state.scaler = scaler.state_dict() if scaler else {}
            writer.tensors("model", self.objective.state_dict())
            writer.tensors("optimizer", optimizer_tensors(self.optimizer))
            writer.tensors("average", self.average.state())
            writer.text("state.json", json.dumps(asdict(self.state), indent=2))
            writer.commit()
        self.saved = True
        self.accelerator.wait_for_everyone()

    def _restore(self) -> None:
        checkpoint = latest_checkpoint(self.run_directory.checkpoints)
        if checkpoint is None:
            return
        device = self.accelerator.device
        try:
            self.state = TypeAdapter(RunState).validate_python(json.loads(checkpoint.text("state.json")))
            self.objective.load_state_dict(checkpoint.tensors("model"))
            restore_optimizer(self.optimizer, checkpoint.tensors("optimizer"))
            self.average.restore({name: tensor.to(device) for name, tensor in checkpoint.tensors("average").items()})
            own = checkpoint.tensors(f"random-{self.accelerator.process_index}")
        except (ValidationError, json.JSONDecodeError, KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise IntegrityError(f"checkpoint {checkpoint.directory} doesn't fit the recipe's model: {reason}") from None
        if self.accelerator.scaler and self.state.scaler:
            self.accelerator.scaler.load_state_dict(self.state.scaler)
        # A process that is new in the resumed run keeps its own seed.
        if own:
            restore_random_state(own)

    def _interruption(self) -> Interrupted:
        step = self.state.step
        return Interrupted(f"interrupted after step {step}; a checkpoint is saved", "the same command with --resume continues")
