"""The recurrent decoder: an LSTM or GRU that reads a memory and predicts one token in each step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condgen_cli.errors import UsageError
from condgen_cli.model import Memory, Step
from condgen_cli.nn.attention import Attention
from condgen_cli.nn.cache import CACHE, Cache, Cached
from condgen_cli.nn.dropout import Dropout
from condgen_cli.nn.loss import Candidates, linear_cross_entropy, sampled_cross_entropy
from condgen_cli.nn.recurrent import GRU, LSTM, RecurrentState, StepwiseLinear, make_recurrent, run

__all__ = ["DecoderState", "RecurrentDecoder", "TeacherForced", "make_embedding"]


class DecoderState(NamedTuple):
    """State of the decoder between two steps.

    Args:
        hidden, cell: state of the recurrent layer, (rows, hidden_size); a GRU has no cell.
        fed: last output vector (rows, embedding_size); None without input feeding.
        attended: last attention weights (rows, positions); None unless attention is location-aware.
    """

    hidden: Tensor
    cell: Tensor | None = None
    fed: Tensor | None = None
    attended: Tensor | None = None

    @property
    def recurrent(self) -> RecurrentState:
        return RecurrentState(self.hidden, self.cell)


class TeacherForced(NamedTuple):
    """Output of teacher forcing for the n steps of all rows that are not padding.

    Args:
        features: output vectors (n, embedding_size), for ``RecurrentDecoder.logits``.
        kept: (n,) index of each step in the flattened (rows, steps) tokens.
        weights: attention weights (n, positions); None without attention.
        attended: attention weights (rows, positions) summed over the steps of a row; None without attention.
        cached: distributions of the cache; None without a cache.
    """

    features: Tensor
    kept: Tensor
    weights: Tensor | None = None
    attended: Tensor | None = None
    cached: Cached | None = None


class _Products(NamedTuple):
    """The linear layers of a step, each from (rows, in) to (rows, out).

    Args:
        from_memory: recurrent layer's product for its inputs beside the token.
        recur: recurrent layer's product for its own state.
        readout: product of the output layer.
    """

    from_memory: Callable[[Tensor], Tensor]
    recur: Callable[[Tensor], Tensor]
    readout: Callable[[Tensor], Tensor]


class RecurrentDecoder(nn.Module):
    """Decoder over a memory, with attention or with a single vector.

    Without attention, the recurrent layer reads the embedding of the last token and ``memory.vector``. With attention, the
    context is the weighted sum of the memory's values

    * for the state before the step, and the layer reads it (``attend="before"``; Bahdanau et al. 2015; Xu et al. 2015);
    * or for the state after the step (``attend="after"``; Luong et al. 2015), so that in training all steps run at once;
      with ``input_feeding`` the layer also reads the last output vector (section 3.3), and steps run one by one.

    A deep output layer (Pascanu et al. 2014; Xu et al. 2015, eq. 7) combines the new state, the context and the last token into
    an output vector; the output matrix is tied to the embedding.

    Args:
        vocabulary_size: number of tokens.
        embedding_size: size of token embeddings and of output vectors.
        hidden_size: size of the recurrent layer.
        context_size: size of the memory's values, or of ``memory.vector`` without attention.
        attention: attention over the memory; None: only ``memory.vector`` is read.
        attend, input_feeding: see above; with attention only.
        gate: whether to scale the context by β = σ(fᵀh), where h is the query (Xu et al. 2015, section 4.2.1); with attention
            only.
        feed: use of ``memory.vector`` without attention. ``start``: initial state of the recurrent layer (Sutskever et al.
            2014); ``every``: initial state and an input of every step (Cho et al. 2014); ``first``: an input before the first
            token (Vinyals et al. 2015).
        dropout: probability of dropout on embeddings and on the output layer.
        cell: ``lstm`` or ``gru``.
        vector_size: with attention, size of ``memory.vector`` if it is also an input of every step; 0: the vector, of
            ``context_size``, only gives the initial state.
        cache: whether to use a continuous cache, see ``Cache``; the memory may then hold its tensors in ``auxiliary``.
    Raises:
        UsageError: if ``input_feeding`` is set without ``attend="after"``.
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
        *,
        attend: str = "before",
        input_feeding: bool = False,
        cell: str = "lstm",
        vector_size: int = 0,
        cache: bool = False,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.after = attention is not None and attend == "after"
        if input_feeding and not self.after:
            raise UsageError("input feeding needs attention of the state after the step", 'attend = "after"')
        self.input_feeding = input_feeding
        feed = feed if attention is None else "every"
        self.feeds_every_step = feed == "every"
        read = embedding_size * input_feeding if self.after else context_size * self.feeds_every_step
        self.vector_size = vector_size if attention is not None else 0
        self.embedding_size = embedding_size
        self.embedding = make_embedding(vocabulary_size, embedding_size)
        self.cell = cell
        read += embedding_size + self.vector_size
        self.add_module(cell, make_recurrent(cell, read, hidden_size))  # the names of the weights contain that of the cell
        self.initial = None if feed == "first" else nn.Linear(self.vector_size or context_size, self.rnn.STATES * hidden_size)
        self.first = nn.Linear(context_size, embedding_size) if feed == "first" else None
        self.gate = nn.Linear(hidden_size, 1) if gate and attention is not None else None
        self.readout = nn.Linear(hidden_size + context_size * self.feeds_every_step, embedding_size)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.cache = Cache(embedding_size) if cache else None
        self.dropout = Dropout(dropout)

    @property
    def rnn(self) -> LSTM | GRU:
        layer = self.get_submodule(self.cell)
        assert isinstance(layer, LSTM | GRU)
        return layer

    def start(self, memory: Memory, rows_per_item: int = 1) -> DecoderState:
        """The state before the first token, from ``memory.vector`` (batch, context_size), with rows for each input."""
        vector = _vector(memory)
        zeros = vector.new_zeros(vector.shape[0], self.rnn.hidden_size)
        if self.initial is not None:
            parts = RecurrentState(*self.initial(vector).tanh().chunk(self.rnn.STATES, 1))
        else:
            assert self.first is not None
            blank = RecurrentState(*[zeros] * self.rnn.STATES)
            parts = self.rnn.advance(F.linear(self.first(vector), self.rnn.weight_ih_l0), self.rnn.recur(zeros), blank)
        fed = vector.new_zeros(vector.shape[0], self.embedding_size) if self.input_feeding else None
        attended = None
        if self.attention is not None and self.attention.location_aware:
            # uniform weights
            real = torch.ones_like(memory.values[:, :, 0]) if memory.mask is None else memory.mask.to(vector)
            attended = real / real.sum(1, keepdim=True).clamp(min=1)
        state = DecoderState(parts.hidden, parts.cell, fed, attended)
        return _map_state(state, lambda part: part.repeat_interleave(rows_per_item, 0)) if rows_per_item > 1 else state

    def step(self, token: Tensor, state: DecoderState, memory: Memory) -> Step:
        """Read one token (rows,) and predict the next."""
        embedded = self.embed(token)
        from_token, from_memory, _ = self._input_weights()
        products = _Products(partial(F.linear, weight=from_memory), self.rnn.recur, self.readout)
        gates = F.linear(embedded, from_token)
        if self.vector_size:
            gates = gates + self._from_vector(memory, token.shape[0])
        state, context, weights, beta = self._advance(gates, products, state, memory)
        features = self._features(state.hidden, context, embedded, products.readout)
        if self.input_feeding:
            state = state._replace(fed=features)
        attention = {} if weights is None else {"attention": weights}
        extras = {} if beta is None else {"gate": beta.squeeze(1)}
        cached = self._look_up_cache(features, torch.arange(token.shape[0], device=token.device), token.shape[0], memory)
        if cached is not None:
            extras |= {"cache": cached.shares.sum(1), "cache_shares": cached.shares}
        return Step(self.logits(features, cached), state, attention, extras)

    def forward(self, memory: Memory, tokens: Tensor, lengths: Tensor | None = None) -> TeacherForced:
        """Teacher forcing.

        Args:
            memory: memory of batch inputs.
            tokens: input tokens (rows, steps); the number of rows is a multiple of batch, and rows are grouped by input.
            lengths: (rows,) number of steps of each row without padding, at least 1, on the CPU; None: no padding. Sorting the
                rows of each input by decreasing length makes padding cheap, since shorter rows then drop out early.
        """
        rows, steps = tokens.shape
        if lengths is None:
            lengths = torch.full((rows,), steps)
        fused = self.attention is None or (self.after and not self.input_feeding and not self.attention.location_aware)
        forced = self._run_fused(memory, tokens, lengths) if fused else self._run_steps(memory, tokens, lengths)
        return forced._replace(cached=self._look_up_cache(forced.features, forced.kept, rows * steps, memory))

    def logits(self, features: Tensor, cached: Cached | None = None) -> Tensor:
        """Logits (n, vocabulary_size) of output vectors (n, embedding_size); with ``cached``, log-probabilities."""
        logits = F.linear(self.dropout(features), self.embedding.weight, self.bias)
        return logits if cached is None else cached.mix(logits)

    def cross_entropy(
        self, forced: TeacherForced, targets: Tensor, label_smoothing: float = 0.0, candidates: Candidates | None = None
    ) -> Tensor:
        """Mean cross-entropy per target token (without padding) of targets (rows, steps), in nats.

        ``candidates`` estimates it from a sample of the vocabulary. Label smoothing is not applied then, nor with a cache.
        """
        wanted = targets.flatten().index_select(0, forced.kept)
        output = self.dropout(forced.features), self.embedding.weight, self.bias, wanted
        mixture = None if forced.cached is None else forced.cached.mixture(wanted)
        if candidates is not None:
            return sampled_cross_entropy(*output, candidates, mixture)
        return linear_cross_entropy(*output, 0.0 if mixture else label_smoothing, mixture)

    def embed(self, tokens: Tensor) -> Tensor:
        """Embeddings (..., embedding_size) of tokens (...), scaled and with dropout, as the recurrent layer reads them."""
        # the embedding is small, since it is also the output matrix; the recurrent layer needs inputs of unit variance
        return self.dropout(self.embedding(tokens) * self.embedding_size**0.5)

    def _input_weights(self) -> tuple[Tensor, ...]:
        """The recurrent layer's input weights for the token, for the context or fed output, and for the vector."""
        read = self.rnn.input_size - self.embedding_size - self.vector_size
        return self.rnn.input_weights(self.embedding_size, read, self.vector_size)

    def _from_vector(self, memory: Memory, rows: int) -> Tensor:
        """The vector's part of the gates (rows, gates), the same in every step."""
        vector = _vector(memory)
        gates = F.linear(vector, self._input_weights()[2])
        return gates.repeat_interleave(rows // vector.shape[0], 0)

    def _advance(
        self, gates: Tensor, products: _Products, state: DecoderState, memory: Memory
    ) -> tuple[DecoderState, Tensor | None, Tensor | None, Tensor | None]:
        """Run one step, given the token's part of the gates: state (without ``fed``), context, attention weights, gate β."""
        if self.after:
            if state.fed is not None:
                gates = gates + products.from_memory(state.fed)
            new = self.rnn.advance(gates, products.recur(state.hidden), state.recurrent)
            context, weights, beta = self._read(new.hidden, memory, state.attended)
        else:
            context, weights, beta = self._read(state.hidden, memory, state.attended)
            if context is not None:
                gates = gates + products.from_memory(context)
            new = self.rnn.advance(gates, products.recur(state.hidden), state.recurrent)
        attended = None if state.attended is None else weights
        return DecoderState(new.hidden, new.cell, attended=attended), context, weights, beta

    def _read(
        self, query: Tensor, memory: Memory, previous: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Context (rows, context_size), weights (rows, positions) and gate (rows, 1) for queries (rows, hidden_size)."""
        if self.attention is None:
            if not self.feeds_every_step:
                return None, None, None
            vector = _vector(memory)
            return vector.repeat_interleave(query.shape[0] // vector.shape[0], 0), None, None
        assert memory.keys is not None
        context, weights = self.attention(query, memory.values, memory.keys, memory.mask, previous)
        if self.gate is None:
            return context, weights, None
        beta = self.gate(query).sigmoid()
        return beta * context, weights, beta

    def _features(
        self, hidden: Tensor, context: Tensor | None, embedded: Tensor, readout: Callable[[Tensor], Tensor]
    ) -> Tensor:
        inputs = hidden if context is None else torch.cat([hidden, context], -1)
        return (readout(self.dropout(inputs)) + embedded).tanh()

    def _look_up_cache(self, features: Tensor, kept: Tensor, count: int, memory: Memory) -> Cached | None:
        if self.cache is None or CACHE.keys not in memory.auxiliary:
            return None
        cached: Cached = self.cache(features, kept, count, memory)
        return cached

    def _run_steps(self, memory: Memory, tokens: Tensor, lengths: Tensor) -> TeacherForced:
        """Teacher forcing step by step, since each step reads the previous one; products of tokens are computed at once."""
        rows, steps = tokens.shape
        batch, per_item = len(memory), rows // len(memory)
        plan = _plan(lengths.view(batch, per_item), steps)
        packed = torch.cat(plan).to(tokens.device)
        sizes = [len(reads) for reads in plan]
        embedded = self.embed(tokens.flatten().index_select(0, packed))
        from_token, from_memory, _ = self._input_weights()
        from_inputs = F.linear(embedded, from_token)
        if self.vector_size:
            from_inputs = from_inputs + self._from_vector(memory, rows).index_select(0, packed // steps)
        products = _Products(
            StepwiseLinear(from_memory, None, sizes),
            StepwiseLinear(self.rnn.weight_hh_l0, self.rnn.bias_hh_l0, sizes),
            StepwiseLinear(self.readout.weight, self.readout.bias, sizes),
        )
        state = self.start(memory, per_item)
        hidden: list[Tensor] = []
        contexts: list[Tensor] = []
        weights: list[Tensor] = []
        features: list[Tensor] = []
        for read, gates in zip(torch.split(embedded, sizes), torch.split(from_inputs, sizes), strict=True):
            if len(gates) < len(state.hidden):
                state = _map_state(state, partial(_first_rows, batch=batch, width=len(gates) // batch))
            state, context, attended, _ = self._advance(gates, products, state, memory)
            assert context is not None
            assert attended is not None
            if self.input_feeding:
                features.append(self._features(state.hidden, context, read, products.readout))
                state = state._replace(fed=features[-1])
            hidden.append(state.hidden)
            contexts.append(context)
            weights.append(attended)
        real = (packed % steps < lengths.to(packed.device)[packed // steps]).nonzero().squeeze(1)
        kept = packed.index_select(0, real)
        attended = torch.cat(weights).index_select(0, real)
        summed = attended.new_zeros(rows, attended.shape[1]).index_add(0, kept // steps, attended)
        if self.input_feeding:
            return TeacherForced(torch.cat(features).index_select(0, real), kept, attended, summed)
        states, found, reads = (part.index_select(0, real) for part in (torch.cat(hidden), torch.cat(contexts), embedded))
        return TeacherForced(self._features(states, found, reads, self.readout), kept, attended, summed)

    def _run_fused(self, memory: Memory, tokens: Tensor, lengths: Tensor) -> TeacherForced:
        """Teacher forcing in one fused run, then attention for all steps at once: no input depends on earlier outputs."""
        rows, steps = tokens.shape
        embedded = self.embed(tokens)
        state = self.start(memory, rows // len(memory))
        inputs, context, weights, attended = embedded, None, None, None
        if self.vector_size or (self.attention is None and self.feeds_every_step):
            vector = _vector(memory).repeat_interleave(rows // len(memory), 0)
            context = vector.unsqueeze(1).expand(-1, steps, -1)
            inputs = torch.cat([embedded, context], -1)
        hidden, _ = run(self.rnn, inputs, lengths, state.recurrent)
        real = torch.arange(steps) < lengths.unsqueeze(1)
        if self.attention is not None:
            found, weights, _ = self._read(hidden.flatten(0, 1), memory)
            assert found is not None
            assert weights is not None
            context = found.view(rows, steps, -1)
            attended = (weights.view(rows, steps, -1) * real.to(weights).unsqueeze(2)).sum(1)
        kept = real.flatten().nonzero().squeeze(1).to(tokens.device)
        weights = None if weights is None else weights.index_select(0, kept)
        hidden, embedded = (part.flatten(0, 1).index_select(0, kept) for part in (hidden, embedded))
        context = None if context is None else context.flatten(0, 1).index_select(0, kept)
        return TeacherForced(self._features(hidden, context, embedded, self.readout), kept, weights, attended)


def make_embedding(vocabulary_size: int, embedding_size: int) -> nn.Embedding:
    """An embedding that can be tied to the output matrix: its rows have about unit norm."""
    embedding = nn.Embedding(vocabulary_size, embedding_size)
    nn.init.normal_(embedding.weight, std=embedding_size**-0.5)
    return embedding


def _vector(memory: Memory) -> Tensor:
    """The vector (batch, size) of a memory.

    Raises:
        ValueError: if it has none.
    """
    if memory.vector is None:
        raise ValueError("a recurrent decoder needs a memory with a vector: Memory(values, …, vector=vector)")
    return memory.vector


def _map_state(state: DecoderState, change: Callable[[Tensor], Tensor]) -> DecoderState:
    hidden, *others = state
    return DecoderState(change(hidden), *(None if part is None else change(part) for part in others))


def _first_rows(part: Tensor, batch: int, width: int) -> Tensor:
    """The first ``width`` rows of every input: (batch · rows, size) to (batch · width, size)."""
    return part.view(batch, -1, part.shape[1])[:, :width].flatten(0, 1)


def _plan(lengths: Tensor, steps: int) -> list[Tensor]:
    """For each step, the indices of its tokens in the flattened (rows, steps) tokens.

    ``lengths`` is (batch, rows per input). A step covers the same number of first rows of every input, as many as any input
    still needs, so that rows stay grouped by input.
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
