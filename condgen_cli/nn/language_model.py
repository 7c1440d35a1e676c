"""A recurrent language model (Mikolov et al. 2010; Zaremba et al. 2014), alone or as a judge of another model's hypotheses."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from condgen_cli.model import Memory
from condgen_cli.nn.decoder import make_embedding
from condgen_cli.nn.dropout import Dropout
from condgen_cli.nn.loss import linear_cross_entropy

__all__ = ["LanguageModel", "LanguageModelScorer", "LanguageModelState"]


class LanguageModelState(NamedTuple):
    """(rows, layers, hidden_size) each."""

    hidden: Tensor
    cell: Tensor


class LanguageModel(nn.Module):
    """Layers of LSTM over embedded tokens; the output matrix is the embedding's (Press and Wolf 2017).

    Args:
        vocabulary_size: number of tokens.
        embedding_size, hidden_size: of a token, and of each layer.
        layers: their number.
        dropout: on embeddings, between layers and on the output, never from step to step.
    """

    def __init__(
        self, vocabulary_size: int, embedding_size: int, hidden_size: int, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embedding = make_embedding(vocabulary_size, embedding_size)
        self.scale = embedding_size**0.5
        self.lstm = nn.LSTM(embedding_size, hidden_size, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.readout = nn.Linear(hidden_size, embedding_size)
        self.bias = nn.Parameter(self.embedding.weight.new_zeros(vocabulary_size))
        self.dropout = Dropout(dropout)

    def start(self, rows: int) -> LanguageModelState:
        """The state before the first token."""
        zeros = self.bias.new_zeros(rows, self.lstm.num_layers, self.lstm.hidden_size)
        return LanguageModelState(zeros, zeros)

    def forward(self, tokens: Tensor, state: LanguageModelState | None = None) -> tuple[Tensor, LanguageModelState]:
        """Read tokens (rows, steps): features (rows, steps, embedding_size) for ``logits``, and the state after them."""
        state = self.start(len(tokens)) if state is None else state
        embedded = self.dropout(self.embedding(tokens) * self.scale)
        outputs, final = self.lstm(embedded, tuple(part.transpose(0, 1).contiguous() for part in state))
        hidden, cell = (part.transpose(0, 1) for part in final)
        return self.dropout(self.readout(self.dropout(outputs)).tanh()), LanguageModelState(hidden, cell)

    def logits(self, features: Tensor) -> Tensor:
        """(..., embedding_size) to (..., vocabulary_size)."""
        return F.linear(features, self.embedding.weight, self.bias)

    def cross_entropy(self, features: Tensor, targets: Tensor) -> Tensor:
        """Mean of features (n, embedding_size) and targets (n,), in nats."""
        return linear_cross_entropy(features, self.embedding.weight, self.bias, targets)


class LanguageModelScorer:
    """Shallow fusion (Gulcehre et al. 2015): implements ``condgen_cli.decoding.Scorer``; it looks at no memory."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def start(self, memory: Memory, rows_per_item: int = 1) -> LanguageModelState:
        return self.model.start(len(memory) * rows_per_item)

    def score(self, token: Tensor, state: LanguageModelState, memory: Memory) -> tuple[Tensor, LanguageModelState]:
        """Log-probabilities (rows, vocabulary) of the next token after ``token`` (rows,), and the next state."""
        features, state = self.model(token.unsqueeze(1), state)
        return self.model.logits(features.squeeze(1)).log_softmax(-1), state
