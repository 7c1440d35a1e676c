"""The recurrent decoder: an LSTM that reads a memory at every step and writes one token."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from condgen_cli.model import Memory, Step
from condgen_cli.nn.attention import Attention

__all__ = ["DecoderState", "RecurrentDecoder", "TeacherForced", "lstm_update"]


class DecoderState(NamedTuple):
    """LSTM state, each (rows, hidden_size)."""

    hidden: Tensor
    cell: Tensor


class TeacherForced(NamedTuple):
    """Output of teacher forcing over the n real steps of all rows.

    Args:
        features: (n, embedding_size), for ``RecurrentDecoder.logits``.
        kept: (n,) where each stands in the flattened (rows, steps) tokens.
        attended: (rows, positions) attention weights summed over a row's steps; None without attention.
    """

    features: Tensor
    kept: Tensor
    attended: Tensor | None


def lstm_update(gates: Tensor, cell: Tensor) -> DecoderState:
    """The LSTM's new state from its summed gate inputs (rows, 4 · hidden_size), in PyTorch's order i, f, g, o."""
    i, f, g, o = gates.chunk(4, 1)
    cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return DecoderState(o.sigmoid() * cell.tanh(), cell)


class RecurrentDecoder(nn.Module):
    """LSTM decoder over a memory, with attention or with one fixed vector.

    At each step the LSTM reads the embedded last token and a context: with attention the weighted sum for the state before
    the step (Xu et al. 2015, eq. 1-3), without it ``memory.auxiliary["vector"]``. A deep output layer (Pascanu et al. 2014;
    Xu et al. 2015, eq. 7) combines the new state, the context and the last token; its last matrix is the embedding's.

    Args:
        vocabulary_size: number of tokens.
        embedding_size: of a token, and of the output layer.
        hidden_size: of the LSTM.
        context_size: of the memory's values, or of the fixed vector.
        attention: None for a fixed vector.
        gate: scale the context by β = σ(fᵀh) (Xu et al. 2015, section 4.2.1); attention only.
        feed: ``every`` step reads the fixed vector, or the ``first`` only, before any token (Vinyals et al. 2015).
        dropout: on embeddings and on the output layer.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int,
        hidden_size: int,
        context_size: int,
        attention: Attention | None = None,
        gate: bool = False,
        feed: str = "every",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feed_first = attention is None and feed == "first"
        lstm_context = 0 if self.feed_first else context_size
        self.embedding_size = embedding_size
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.lstm = nn.LSTM(embedding_size + lstm_context, hidden_size, batch_first=True)
        self.initial = None if self.feed_first else nn.Linear(context_size, 2 * hidden_size)
        self.first = nn.Linear(context_size, embedding_size) if self.feed_first else None
        self.gate = nn.Linear(hidden_size, 1) if gate and attention is not None else None
        self.readout = nn.Linear(hidden_size + lstm_context, embedding_size)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=embedding_size**-0.5)
        _, _, input_bias, recurrent_bias = self._weights()
        nn.init.zeros_(recurrent_bias)
        nn.init.zeros_(input_bias)
        nn.init.ones_(input_bias[hidden_size : 2 * hidden_size])  # forget gates start open

    def start(self, memory: Memory, rows_per_item: int = 1) -> DecoderState:
        """The state before the first token, from ``memory.auxiliary["vector"]`` (batch, context_size)."""
        vector = memory.auxiliary["vector"]
        if self.initial is not None:
            hidden, cell = self.initial(vector).tanh().chunk(2, 1)
            state = DecoderState(hidden, cell)
        else:
            assert self.first is not None
            zeros = vector.new_zeros(len(vector), self.lstm.hidden_size)
            state = lstm_update(F.linear(self.first(vector), self._weights()[0], self._biases()), zeros)
        return DecoderState(*(part.repeat_interleave(rows_per_item, 0) for part in state))

    def step(self, token: Tensor, state: DecoderState, memory: Memory) -> Step:
        """Read one token (rows,) and predict the next."""
        embedded = self._embed(token)
        inputs, recurrent = self._split_weights()
        context, weights, beta = self._read(state.hidden, memory)
        state = self._advance(F.linear(embedded, inputs, self._biases()), context, state, recurrent)
        logits = self.logits(self._features(state.hidden, context, embedded))
        attention = {} if weights is None else {"attention": weights}
        return Step(logits, state, attention, {} if beta is None else {"gate": beta.squeeze(1)})

    def forward(self, memory: Memory, tokens: Tensor, lengths: Tensor | None = None) -> TeacherForced:
        """Teacher forcing.

        Args:
            memory: batch rows.
            tokens: (rows, steps) inputs, rows a multiple of batch and grouped by it.
            lengths: (rows,) real steps of each row, on the CPU; None: all. Padding costs little if the rows of each input come
                longest first: the steps that only some of them need are run for those alone.
        """
        rows, steps = tokens.shape
        if lengths is None:
            lengths = torch.full((rows,), steps)
        if self.attention is None:
            return self._run_fused(memory, tokens, lengths)
        return self._run_steps(memory, tokens, lengths)

    def logits(self, features: Tensor) -> Tensor:
        """(n, embedding_size) to (n, vocabulary_size)."""
        return F.linear(self.dropout(features), self.embedding.weight, self.bias)

    def _embed(self, tokens: Tensor) -> Tensor:
        # the embedding is also the output matrix, so small; the LSTM wants inputs of unit size
        return self.dropout(self.embedding(tokens) * self.embedding_size**0.5)

    def _weights(self) -> list[Tensor]:
        """The LSTM's input weights, recurrent weights and two biases."""
        return list(self.lstm.all_weights[0])

    def _biases(self) -> Tensor:
        _, _, input_bias, recurrent_bias = self._weights()
        return input_bias + recurrent_bias

    def _split_weights(self) -> tuple[Tensor, Tensor]:
        """The LSTM's weights for the token (4h, embedding), and for context and state together (4h, context + h)."""
        inputs, recurrent, _, _ = self._weights()
        split = self.embedding_size
        return inputs[:, :split], torch.cat([inputs[:, split:], recurrent], 1)

    def _read(self, hidden: Tensor, memory: Memory) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Context (rows, context_size), weights (rows, positions), gate (rows, 1) for the state before a step."""
        if self.attention is None:
            if self.feed_first:
                return None, None, None
            vector = memory.auxiliary["vector"]
            return vector.repeat_interleave(len(hidden) // len(vector), 0), None, None
        assert memory.keys is not None
        context, weights = self.attention(hidden, memory.values, memory.keys, memory.mask)
        if self.gate is None:
            return context, weights, None
        beta = self.gate(hidden).sigmoid()
        return beta * context, weights, beta

    def _advance(self, from_token: Tensor, context: Tensor | None, state: DecoderState, recurrent: Tensor) -> DecoderState:
        inputs = state.hidden if context is None else torch.cat([context, state.hidden], 1)
        return lstm_update(from_token + F.linear(inputs, recurrent), state.cell)

    def _features(self, hidden: Tensor, context: Tensor | None, embedded: Tensor) -> Tensor:
        inputs = hidden if context is None else torch.cat([hidden, context], -1)
        return (self.readout(self.dropout(inputs)) + embedded).tanh()

    def _run_steps(self, memory: Memory, tokens: Tensor, lengths: Tensor) -> TeacherForced:
        """Attention depends on the state, so steps run one after the other; what depends on tokens alone is one product."""
        rows, steps = tokens.shape
        batch, per_item = len(memory), rows // len(memory)
        plan = _plan(lengths.view(batch, per_item), steps)
        packed = torch.cat(plan).to(tokens.device)
        embedded = self._embed(tokens.flatten().index_select(0, packed))
        inputs, recurrent = self._split_weights()
        from_tokens = torch.split(F.linear(embedded, inputs, self._biases()), [len(reads) for reads in plan])
        state = self.start(memory, per_item)
        hidden, contexts, weights = [], [], []
        for from_token in from_tokens:
            if len(from_token) < len(state.hidden):
                width = len(from_token) // batch
                state = DecoderState(*(part.view(batch, -1, part.shape[1])[:, :width].flatten(0, 1) for part in state))
            context, attended, _ = self._read(state.hidden, memory)
            assert context is not None
            assert attended is not None
            state = self._advance(from_token, context, state, recurrent)
            hidden.append(state.hidden)
            contexts.append(context)
            weights.append(attended)
        real = (packed % steps < lengths.to(packed.device)[packed // steps]).nonzero().squeeze(1)
        kept = packed.index_select(0, real)
        parts = [torch.cat(hidden), torch.cat(contexts), embedded, torch.cat(weights)]
        final, context, embedded, attended = (part.index_select(0, real) for part in parts)
        summed = attended.new_zeros(rows, attended.shape[1]).index_add(0, kept // steps, attended)
        return TeacherForced(self._features(final, context, embedded), kept, summed)

    def _run_fused(self, memory: Memory, tokens: Tensor, lengths: Tensor) -> TeacherForced:
        """Without attention every input is known beforehand: one fused LSTM call."""
        rows, steps = tokens.shape
        embedded = self._embed(tokens)
        state = self.start(memory, rows // len(memory))
        context, _, _ = self._read(state.hidden, memory)
        inputs = embedded
        if context is not None:
            context = context.unsqueeze(1).expand(-1, steps, -1)
            inputs = torch.cat([embedded, context], -1)
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = self.lstm(packed, (state.hidden.unsqueeze(0), state.cell.unsqueeze(0)))
        hidden, _ = pad_packed_sequence(hidden, batch_first=True, total_length=steps)
        kept = (torch.arange(steps) < lengths.unsqueeze(1)).flatten().nonzero().squeeze(1).to(tokens.device)
        hidden, embedded = (part.flatten(0, 1).index_select(0, kept) for part in (hidden, embedded))
        context = None if context is None else context.flatten(0, 1).index_select(0, kept)
        return TeacherForced(self._features(hidden, context, embedded), kept, None)


def _plan(lengths: Tensor, steps: int) -> list[Tensor]:
    """For each step what it reads, as indices into the flattened (rows, steps) tokens.

    ``lengths`` is (batch, rows of each item). A step takes the same first rows of every item, as many as any item still needs,
    so that rows stay grouped by item.
    """
    batch, per_item = lengths.shape
    first = torch.arange(batch * per_item).view(batch, per_item) * steps
    plan = []
    for step in range(steps):
        needed = (lengths > step).any(0).nonzero()
        if not len(needed):
            break
        plan.append((first[:, : int(needed[-1]) + 1] + step).flatten())
    return plan
