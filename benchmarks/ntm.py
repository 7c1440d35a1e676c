"""Milliseconds of a training step of the neural Turing machine on copying, beside pytorch-ntm's where that is at hand.

    python benchmarks/ntm.py [--peer PATH] [--length 10] [--batches 1 32] [--steps 7]

PATH is a checkout of pytorch-ntm, whose package ``ntm`` has the same sizes here: one head of each kind, 128 slots of 20, an
LSTM of 100. Both take the same sequences, and a step is a forward pass, the gradient, clipping and RMSprop. They take turns.
Medians of CPU seconds on one thread.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from common import cpu_seconds, medians
from torch import Tensor, nn

from condgen_cli.arrays.denormals import flush_denormals
from condgen_ntm.bit_tasks import TASKS
from condgen_ntm.model import NtmConfig, NtmModel
from condgen_ntm.objective import Objective

Step = Callable[[], float]


def trainer(module: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """A step's CPU seconds."""
    optimizer = torch.optim.RMSprop(module.parameters(), lr=1e-4, alpha=0.95, momentum=0.9)

    def step() -> float:
        began = cpu_seconds()
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 10.0)
        optimizer.step()
        return cpu_seconds() - began

    return step


def peer_trainer(path: Path, inputs: Tensor, targets: Tensor) -> Step:
    """As pytorch-ntm's own training script runs a batch: a step at a time, then the answers with nothing as input."""
    sys.path.insert(0, str(path))
    from ntm.aio import EncapsulatedNTM

    _, batch, channels = inputs.shape
    machine = EncapsulatedNTM(channels, channels - 1, 100, 1, 1, 128, 20)
    read = len(inputs) - len(targets)

    def loss() -> Tensor:
        machine.init_sequence(batch)
        for step in inputs[:read]:
            machine(step)
        outputs = torch.stack([machine()[0] for _ in range(len(targets))])
        return F.binary_cross_entropy(outputs, targets)

    return trainer(machine, loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, help="a checkout of pytorch-ntm")
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--steps", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for batch in options.batches:
        torch.manual_seed(0)
        drawn = TASKS["copy"].draw(np.random.default_rng(0), batch, length=options.length)
        inputs = torch.from_numpy(np.ascontiguousarray(drawn.inputs.swapaxes(0, 1)))
        targets = torch.from_numpy(drawn.targets.swapaxes(0, 1).astype(np.float32))
        objective = Objective(NtmModel(NtmConfig(task="copy")))
        steps = {"condgen": trainer(objective, lambda o=objective, b=(inputs, targets): o(b)[0])}  # type: ignore[misc]
        if options.peer:
            steps["pytorch-ntm"] = peer_trainer(options.peer, inputs, targets)
        with flush_denormals():
            for step in steps.values():
                step()  # memory and buffers of a first step
            taken = medians(steps, options.steps)
        for name, seconds in taken.items():
            print(f"batch {batch:3}, length {options.length}: {name:12} {1000 * seconds:7.1f} ms")


if __name__ == "__main__":
    main()
