"""LSTM and GRU: fused over whole sequences, or step by step with the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condgen_cli.errors import UsageError

__all__ = ["GRU", "LSTM", "RecurrentState", "StepwiseLinear", "make_recurrent", "run"]


class RecurrentState(NamedTuple):
    """State of a layer, (rows, hidden_size) each; a GRU has no cell."""

    hidden: Tensor
    cell: Tensor | None = None


class _Start(torch.autograd.Function):
    """The tensor (rows, out) that the products of all steps are added to: the bias. Its backward pass computes the gradients of
    weight and bias for all steps at once.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, rows: int, inputs: list[Tensor]) -> Tensor:
        ctx.inputs = inputs
        ctx.has_bias = bias is not None
        return weight.new_zeros(rows, len(weight)) if bias is None else bias.expand(rows, -1).clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight = gradient.t() @ torch.cat(ctx.inputs)
        return weight, gradient.sum(0) if ctx.has_bias else None, None, None


class StepwiseLinear:
    """A linear layer that is applied step by step, whose weight gradient is computed for all steps in one product.

    Args:
        weight, bias: as for ``F.linear``.
        sizes: number of rows in each step.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, sizes: Sequence[int]) -> None:
        self.weight = weight.detach().t()
        self.inputs: list[Tensor] = []
        started: Tensor = _Start.apply(weight, bias, sum(sizes), self.inputs)  # type: ignore[no-untyped-call]
        self.starts = iter(torch.split(started, list(sizes)))

    def __call__(self, inputs: Tensor) -> Tensor:
        """The product of the next step, (rows, in) to (rows, out)."""
        self.inputs.append(inputs.detach())
        return torch.addmm(next(self.starts), inputs, self.weight)


class _Layer(nn.RNNBase):
    """What both kinds of layer share."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.zeros_(self.bias_ih_l0)
        nn.init.zeros_(self.bias_hh_l0)

    def input_weights(self, *sizes: int) -> tuple[Tensor, ...]:
        """The input weights split into parts (gates, size), for inputs that are known at different times."""
        return torch.split(self.weight_ih_l0, list(sizes), 1)

    def recur(self, hidden: Tensor) -> Tensor:
        """The part of the gates (rows, gates) from the hidden state (rows, hidden_size), with its bias."""
        return F.linear(hidden, self.weight_hh_l0, self.bias_hh_l0)


class LSTM(_Layer, nn.LSTM):
    """One layer of LSTM (Hochreiter and Schmidhuber 1997) with forget gates (Gers et al. 2000), whose bias starts at 1."""

    STATES = 2
    """Number of tensors in a state."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.ones_(self.bias_ih_l0[self.hidden_size : 2 * self.hidden_size])

    def advance(self, gates: Tensor, recurrent: Tensor, state: RecurrentState) -> RecurrentState:
        """The next state, from the inputs' part of the gates (without bias) and the hidden state's; in the order i, f, g, o."""
        assert state.cell is not None
        i, f, g, o = (gates + self.bias_ih_l0 + recurrent).chunk(4, 1)
        cell = f.sigmoid() * state.cell + i.sigmoid() * g.tanh()
        return RecurrentState(o.sigmoid() * cell.tanh(), cell)


class GRU(_Layer, nn.GRU):
    """One layer of GRU (Cho et al. 2014), with the reset gate after the recurrent product as in cuDNN."""

    STATES = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)

    def advance(self, gates: Tensor, recurrent: Tensor, state: RecurrentState) -> RecurrentState:
        """As ``LSTM.advance``; in the order r, z, n."""
        reset, update, candidate = (gates + self.bias_ih_l0).chunk(3, 1)
        from_reset, from_update, from_candidate = recurrent.chunk(3, 1)
        candidate = (candidate + (reset + from_reset).sigmoid() * from_candidate).tanh()
        return RecurrentState(candidate.lerp(state.hidden, (update + from_update).sigmoid()))


def make_recurrent(cell: str, input_size: int, hidden_size: int) -> LSTM | GRU:
    """One unidirectional layer.

    Raises:
        UsageError: if ``cell`` is neither ``lstm`` nor ``gru``.
    """
    if cell not in ("lstm", "gru"):
        raise UsageError(f"cell must be lstm or gru, not {cell!r}")
    return LSTM(input_size, hidden_size) if cell == "lstm" else GRU(input_size, hidden_size)


def run(rnn: nn.LSTM | nn.GRU, inputs: Tensor, lengths: Tensor, state: RecurrentState | None = None) -> tuple[Tensor, Tensor]:
    """Run a recurrent network over padded sequences, fused, for any number of layers and directions.

    The backward direction starts at the end of each row without padding. On a CPU this takes a fraction of the time of packed
    sequences, for which PyTorch has no fused kernel there.

    Args:
        rnn: the network, batch first.
        inputs: inputs (rows, steps, size).
        lengths: (rows,) number of steps of each row without padding, at least 1, on the CPU.
        state: initial state, for one layer and direction; None: zeros.
    Returns:
        outputs (rows, steps, directions · hidden_size), zero at padding, and the last layer's final hidden states, the
        directions concatenated, (rows, directions · hidden_size).
    """
    rows, steps, _ = inputs.shape
    lengths = lengths.to(inputs.device).unsqueeze(1)
    positions = torch.arange(steps, device=inputs.device)
    real = (positions < lengths).unsqueeze(2)
    mirrored = torch.where(positions < lengths, lengths - 1 - positions, positions)
    mirrored = (mirrored + steps * torch.arange(rows, device=inputs.device).unsqueeze(1)).flatten()
    outputs = inputs
    for layer in range(rnn.num_layers):
        if layer and rnn.dropout:
            outputs = F.dropout(outputs, rnn.dropout, rnn.training)
        read = outputs
        outputs = _direction(rnn, read, state, f"l{layer}")
        if rnn.bidirectional:
            backward = _direction(rnn, _reorder(read, mirrored), state, f"l{layer}_reverse")
            outputs = torch.cat([outputs, _reorder(backward, mirrored)], 2)
    outputs = outputs * real.to(outputs.dtype)
    last = outputs[torch.arange(rows, device=inputs.device), lengths.squeeze(1) - 1]
    if rnn.bidirectional:
        last = torch.cat([last[:, : rnn.hidden_size], outputs[:, 0, rnn.hidden_size :]], 1)
    return outputs, last


def _direction(rnn: nn.LSTM | nn.GRU, inputs: Tensor, state: RecurrentState | None, suffix: str) -> Tensor:
    """The outputs of one layer in one direction."""
    names = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if rnn.bias else [])]
    weights = [getattr(rnn, f"{name}_{suffix}") for name in names]
    parts = [] if state is None else [part.unsqueeze(0) for part in state if part is not None]
    parts = parts or [inputs.new_zeros(1, inputs.shape[0], rnn.hidden_size)] * (2 if isinstance(rnn, nn.LSTM) else 1)
    options = (weights, rnn.bias, 1, 0.0, rnn.training, False, True)
    if isinstance(rnn, nn.LSTM):
        return torch.lstm(inputs, parts, *options)[0]
    return torch.gru(inputs, parts[0], *options)[0]


def _reorder(sequences: Tensor, order: Tensor) -> Tensor:
    """Sequences (rows, steps, size) with their steps in another order, given as indices into (rows · steps)."""
    return sequences.flatten(0, 1).index_select(0, order).view(sequences.shape)
