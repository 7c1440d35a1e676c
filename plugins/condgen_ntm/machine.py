"""The recurrent network: a controller that reads and writes a memory at every step (Graves et al. 2014, section 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from condgen_cli.nn.recurrent import StepwiseLinear
from condgen_ntm.addressing import AddressingParameters, FullAddressing, SimpleAddressing
from condgen_ntm.fused import Layout, run_fused
from condgen_ntm.memory import read, write

__all__ = ["Machine", "MemoryRecord"]

Start = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]

CONSTANT = 1e-6
"""Every number of a constant initial memory."""
FOCUS = 5.0
"""Logit of slot 0 in the initial weightings; slots of a constant memory differ only by where heads start."""


class MemoryRecord(NamedTuple):
    """Weightings and memory at each step.

    Args:
        weights: (steps, batch, heads, slots), read heads first.
        contents: (steps, batch, slots, slot_size), after the step's write.
        erase, add: (steps, batch, write_heads, slot_size) erase and add vectors.
    """

    weights: Tensor
    contents: Tensor
    erase: Tensor
    add: Tensor


class Machine(nn.Module):
    """The network. At each step the controller reads the input and the previous read vectors, all heads address the memory,
    the write heads write, then the read heads read: r_t is read from M_t (eq. 2), after the writes of step t (eqs. 3 and 4).

    Args:
        inputs: number of input channels.
        hidden_size: units of the controller.
        recurrent: whether the controller is an LSTM; else a feed-forward hidden layer.
        read_heads, write_heads: numbers of heads, at least 1 each.
        slots, slot_size: shape of the memory.
        addressing: ``full``, or ``simple`` for content-based addressing alone.
        shifts: see ``FullAddressing``.
        learned_memory: whether the initial memory is learned, rather than 1e-6 everywhere.
    """

    def __init__(
        self,
        inputs: int,
        hidden_size: int,
        *,
        recurrent: bool,
        read_heads: int,
        write_heads: int,
        slots: int,
        slot_size: int,
        addressing: str,
        shifts: int,
        learned_memory: bool,
    ) -> None:
        super().__init__()
        heads = read_heads + write_heads
        self.recurrent = recurrent
        self.read_heads, self.write_heads = read_heads, write_heads
        self.slots, self.slot_size = slots, slot_size
        self.size = hidden_size + read_heads * slot_size
        self.take = nn.Linear(inputs, 4 * hidden_size if recurrent else hidden_size)
        self.back = nn.Linear(self.size if recurrent else read_heads * slot_size, self.take.out_features, bias=False)
        full = addressing == "full"
        self.addressing = FullAddressing(heads, slot_size, shifts) if full else SimpleAddressing(heads, slot_size)
        keys, gate, positive, moves = self.addressing.sizes
        self.layout = Layout(keys, write_heads * slot_size, gate, write_heads * slot_size, positive, moves)
        self.emit = nn.Linear(hidden_size, sum(self.layout))
        self.first_read = nn.Parameter(torch.zeros(read_heads * slot_size))
        self.first_state = nn.Parameter(torch.zeros(2, hidden_size)) if recurrent else None
        self.first_weights = nn.Parameter(torch.zeros(heads, slots)) if full else None
        self.first_memory = nn.Parameter(torch.empty(slots, slot_size)) if learned_memory else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot initialisation of the layers, forget gate biases of 1, initial weightings on slot 0."""
        for layer in (self.take, self.back, self.emit):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.take.bias)
        nn.init.zeros_(self.emit.bias)
        if self.recurrent:
            nn.init.constant_(self.take.bias[: len(self.take.bias) // 4], 1.0)
        if self.first_weights is not None:
            nn.init.constant_(self.first_weights[:, 0], FOCUS)
        if self.first_memory is not None:
            nn.init.normal_(self.first_memory, std=0.1)

    def forward(self, inputs: Tensor, record: bool = False) -> tuple[Tensor, MemoryRecord | None]:
        """Run over whole sequences.

        Args:
            inputs: (steps, batch, channels), at least one step.
            record: whether to record weightings and memory.
        Returns:
            The hidden state and read vectors of each step, concatenated, (steps, batch, size); the record or None.
        """
        taken = self.take(inputs)
        start = self._start(inputs.shape[1])
        if torch.is_grad_enabled() and not record and isinstance(self.addressing, FullAddressing):
            weights = self.back.weight, self.emit.weight, self.emit.bias
            return run_fused(taken, *weights, start, self.layout, self.read_heads, self.recurrent), None
        return self._stepwise(taken, start, record)

    def _stepwise(self, taken: Tensor, start: Start, record: bool) -> tuple[Tensor, MemoryRecord | None]:
        hidden, cell, found, weights, memory = start
        steps, batch, _ = taken.shape
        back = StepwiseLinear(self.back.weight, None, [batch] * steps)
        emit = StepwiseLinear(self.emit.weight, self.emit.bias, [batch] * steps)
        outputs, recorded = [], []
        for at_step in taken.unbind(0):
            if self.recurrent:
                hidden, cell = _lstm(at_step + back(torch.cat([hidden, found], 1)), cell)
            else:
                hidden = (at_step + back(found)).tanh()
            keys, add, gate, erase, positive, moves = torch.split(emit(hidden), list(self.layout), 1)
            erase = erase.sigmoid().view(batch, self.write_heads, self.slot_size)
            add = add.tanh().view(batch, self.write_heads, self.slot_size)
            weights = self.addressing(AddressingParameters(keys, gate, positive, moves), memory, weights)
            memory = write(memory, weights[:, self.read_heads :], erase, add)
            found = read(memory, weights[:, : self.read_heads])
            outputs.append(torch.cat([hidden, found], 1))
            if record:
                recorded.append((weights, memory, erase, add))
        kept = MemoryRecord(*map(torch.stack, zip(*recorded, strict=True))) if record else None
        return torch.stack(outputs), kept

    def _start(self, batch: int) -> Start:
        """Initial hidden state, cell, read vectors, weightings and memory, one row per sequence."""
        found = self.first_read.tanh().expand(batch, -1)
        hidden = cell = found
        if self.first_state is not None:
            hidden, cell = self.first_state.unsqueeze(1).expand(-1, batch, -1).unbind(0)
        shape = batch, self.slots, self.slot_size
        memory = found.new_full(shape, CONSTANT) if self.first_memory is None else self.first_memory.expand(shape)
        weights = found if self.first_weights is None else self.first_weights.softmax(-1).expand(batch, -1, -1)
        return hidden, cell, found, weights, memory


def _lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next hidden state and cell (rows, hidden_size), from gates (rows, 4 · hidden_size): forget, input, output, cell."""
    size = cell.shape[1]
    forget, take, give = gates[:, : 3 * size].sigmoid().chunk(3, 1)
    cell = torch.addcmul(forget * cell, take, gates[:, 3 * size :].tanh())
    return give * cell.tanh(), cell
