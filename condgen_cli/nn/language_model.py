"""A recurrent language model (Mikolov et al. 2010; Zaremba et al. 2014), alone or as a scorer in another model's search."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condgen_cli.model import Memory
from condgen_cli.nn.decoder import make_embedding
from condgen_cli.nn.dropout import Dropout
from condgen_cli.nn.loss import linear_cross_entropy

__all__ = ["LanguageModel", "LanguageModelScorer", "LanguageModelState"]


class LanguageModelState(NamedTuple):
    """State of the layers, (rows, layers, hidden_size) each."""

    hidden: Tensor
    cell: Tensor


class LanguageModel(nn.Module):
    """An LSTM over embedded tokens.

    Args:
        vocabulary_size: number of tokens.
        embedding_size, hidden_size: sizes of token embeddings and of each layer.
        layers: number of layers.
        dropout: probability of dropout on embeddings, between layers and on the output; there is none from step to step.
        tied: whether the output matrix is tied to the embedding (Press and Wolf 2017), after a layer that maps to its size;
            otherwise the output matrix has weights of its own.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int,
        hidden_size: int,
        layers: int = 1,
        dropout: float = 0.0,
        tied: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = make_embedding(vocabulary_size, embedding_size)
        self.scale = embedding_size**0.5
        self.lstm = nn.LSTM(embedding_size, hidden_size, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.readout = nn.Linear(hidden_size, embedding_size) if tied else None
        self.output = None if tied else nn.Linear(hidden_size, vocabulary_size, bias=False)
        self.bias = nn.Parameter(self.embedding.weight.new_zeros(vocabulary_size))
        self.dropout = Dropout(dropout)

    def start(self, rows: int) -> LanguageModelState:
        """The state before the first token."""
        zeros = self.bias.new_zeros(rows, self.lstm.num_layers, self.lstm.hidden_size)
        return LanguageModelState(zeros, zeros)

    def forward(self, tokens: Tensor, state: LanguageModelState | None = None) -> tuple[Tensor, LanguageModelState]:
        """Features (rows, steps, size) of tokens (rows, steps), for ``logits``, and the state after them.

        ``size`` is ``embedding_size``, or ``hidden_size`` if the output matrix is not tied.
        """
        state = self.start(len(tokens)) if state is None else state
        embedded = self.dropout(self.embedding(tokens) * self.scale)
        outputs, state = self._step(embedded, state) if tokens.shape[1] == 1 else self._run(embedded, state)
        features = self.dropout(outputs)
        if self.readout is not None:
            features = self.dropout(self.readout(features).tanh())
        return features, state

    def logits(self, features: Tensor) -> Tensor:
        """Logits (..., vocabulary_size) of features (..., size)."""
        return F.linear(features, self._matrix, self.bias)

    def cross_entropy(self, features: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of features (n, size) and targets (n,), in nats."""
        return linear_cross_entropy(features, self._matrix, self.bias, targets)

    def _run(self, inputs: Tensor, state: LanguageModelState) -> tuple[Tensor, LanguageModelState]:
        """Outputs (rows, steps, hidden_size) of inputs (rows, steps, embedding_size), and the state after them."""
        outputs, final = self.lstm(inputs, tuple(part.transpose(0, 1).contiguous() for part in state))
        return outputs, LanguageModelState(*(part.transpose(0, 1) for part in final))

    def _step(self, inputs: Tensor, state: LanguageModelState) -> tuple[Tensor, LanguageModelState]:
        """As ``_run`` for a single step: a fused run would pack the weights each time, which takes longer than the step."""
        signal, hidden, cell = inputs.squeeze(1), [], []
        for layer in range(self.lstm.num_layers):
            weights = (getattr(self.lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            signal = F.dropout(signal, self.lstm.dropout, self.training and layer > 0)
            signal, memory = torch.lstm_cell(signal, (state.hidden[:, layer], state.cell[:, layer]), *weights)
            hidden.append(signal)
            cell.append(memory)
        return signal.unsqueeze(1), LanguageModelState(torch.stack(hidden, 1), torch.stack(cell, 1))

    @property
    def _matrix(self) -> Tensor:
        """Output matrix (vocabulary_size, size)."""
        return self.embedding.weight if self.output is None else self.output.weight


class LanguageModelScorer:
    """Shallow fusion (Gulcehre et al. 2015) as a ``condgen_cli.running.decoding.Scorer``; it ignores the memory."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def start(self, memory: Memory, rows_per_item: int = 1) -> LanguageModelState:
        return self.model.start(len(memory) * rows_per_item)

    def score(self, token: Tensor, state: LanguageModelState, memory: Memory) -> tuple[Tensor, LanguageModelState]:
        """Log-probabilities (rows, vocabulary_size) of the token that follows ``token`` (rows,), and the next state."""
        features, state = self.model(token.unsqueeze(1), state)
        return self.model.logits(features.squeeze(1)).log_softmax(-1), state
