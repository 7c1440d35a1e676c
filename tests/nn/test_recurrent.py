"""LSTM and GRU: single steps equal PyTorch's cells, fused runs equal repeated steps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from condgen_cli.errors import UsageError
from condgen_cli.nn.recurrent import RecurrentState, StepwiseLinear, make_recurrent, run

INPUTS, HIDDEN = 5, 6


@pytest.mark.parametrize(("name", "cell"), [("lstm", nn.LSTMCell), ("gru", nn.GRUCell)])
def test_a_step_is_that_of_pytorchs_cell(name: str, cell: type[nn.Module]) -> None:
    layer = make_recurrent(name, INPUTS, HIDDEN)
    expected = cell(INPUTS, HIDDEN)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    weights = {key.removesuffix("_l0"): value for key, value in layer.state_dict().items()}
    expected.load_state_dict(weights)
    inputs, states = torch.randn(3, INPUTS), [torch.randn(3, HIDDEN) for _ in range(layer.STATES)]
    wanted = expected(inputs, tuple(states) if name == "lstm" else states[0])
    first, rest = layer.input_weights(2, 3)
    gates = F.linear(inputs[:, :2], first) + F.linear(inputs[:, 2:], rest)
    found = layer.advance(gates, layer.recur(states[0]), RecurrentState(*states))
    torch.testing.assert_close(found.hidden, wanted[0] if name == "lstm" else wanted)
    if name == "lstm":
        torch.testing.assert_close(found.cell, wanted[1])


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_fused_run_equals_repeated_steps(name: str) -> None:
    layer = make_recurrent(name, INPUTS, HIDDEN)
    inputs, lengths = torch.randn(3, 4, INPUTS), [4, 2, 3]
    state = RecurrentState(*(torch.randn(3, HIDDEN) for _ in range(layer.STATES)))
    outputs, final = run(layer, inputs, torch.tensor(lengths), state)
    for position in range(4):
        state = layer.advance(F.linear(inputs[:, position], layer.weight_ih_l0), layer.recur(state.hidden), state)
        for row, length in enumerate(lengths):
            expected = state.hidden[row] if position < length else torch.zeros(HIDDEN)
            torch.testing.assert_close(outputs[row, position], expected)
            if position == length - 1:
                torch.testing.assert_close(final[row], expected)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_run_is_pytorchs_over_packed_sequences(kind: type[nn.LSTM | nn.GRU]) -> None:
    layer = kind(INPUTS, HIDDEN, num_layers=2, bidirectional=True, batch_first=True)
    lengths = torch.tensor([2, 5, 1, 4])
    found, expected = [], []
    for results, packed in ((found, False), (expected, True)):
        inputs = torch.arange(4 * 5 * INPUTS).view(4, 5, INPUTS).float().sin().requires_grad_()
        if packed:
            sequences, final = layer(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False))
            outputs = pad_packed_sequence(sequences, batch_first=True)[0]
            last = (final[0] if kind is nn.LSTM else final)[-2:].transpose(0, 1).flatten(1)
        else:
            outputs, last = run(layer, inputs, lengths)
        loss = (outputs * outputs.detach().cos()).sum() + last.square().sum()
        results += [outputs, last, *torch.autograd.grad(loss, [inputs, *layer.parameters()])]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("bias", [True, False])
def test_the_gradient_gathered_over_steps_is_the_sum_of_each_steps(bias: bool) -> None:
    layer, sizes = nn.Linear(INPUTS, HIDDEN, bias), [3, 3, 2]
    inputs = [torch.randn(size, INPUTS, requires_grad=True) for size in sizes]
    found = []
    for stepwise in (True, False):
        product = StepwiseLinear(layer.weight, layer.bias, sizes) if stepwise else layer
        outputs = [product(rows) for rows in inputs]
        loss = sum((output * output.detach().cos()).sum() for output in outputs)
        found.append((outputs, torch.autograd.grad(loss, [*inputs, *layer.parameters()])))
    for once, each in zip(*found, strict=True):
        torch.testing.assert_close(once, each)


def test_another_cell_is_refused() -> None:
    with pytest.raises(UsageError, match="lstm or gru"):
        make_recurrent("rnn", 2, 2)
