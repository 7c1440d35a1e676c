"""The recurrent decoder: an LSTM or GRU that reads a memory at every step and writes one token."""

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
    """State between two steps.

    Args:
        hidden, cell: of the LSTM, or hidden alone of the GRU, (rows, hidden_size).
        fed: (rows, embedding_size), the output layer's last vector; None without input feeding.
        attended: (rows, positions), the last attention weights; None unless attention is located.
    """

    hidden: Tensor
    cell: Tensor | None = None
    fed: Tensor | None = None
    attended: Tensor | None = None

    @property
    def recurrent(self) -> RecurrentState:
        return RecurrentState(self.hidden, self.cell)


class TeacherForced(NamedTuple):
    """Output of teacher forcing over the n real steps of all rows.

    Args:
        features: (n, embedding_size), for ``RecurrentDecoder.logits``.
        kept: (n,) where each stands in the flattened (rows, steps) tokens.
        weights: (n, positions) attention weights of each; None without attention.
        attended: (rows, positions) attention weights summed over a row's steps; None without attention.
        cached: what the cache says in each; None without a cache.
    """

    features: Tensor
    kept: Tensor
    weights: Tensor | None = None
    attended: Tensor | None = None
    cached: Cached | None = None


class _Products(NamedTuple):
    """The linear layers of a step, each (rows, in) to (rows, out).

    Args:
        from_memory: the recurrent layer's, for what it reads beside the token.
        recur: the recurrent layer's, for its own state.
        readout: the output layer's.
    """

    from_memory: Callable[[Tensor], Tensor]
    recur: Callable[[Tensor], Tensor]
    readout: Callable[[Tensor], Tensor]


class RecurrentDecoder(nn.Module):
    """Decoder over a memory, with attention or with one fixed vector.

    Without attention the recurrent layer reads the embedded last token and ``memory.vector``. With it, the context is the
    weighted sum of the memory's values

    * for the state before the step, and the layer reads it (``attend="before"``; Bahdanau et al. 2015; Xu et al. 2015);
    * or for the state after the step (``attend="after"``; Luong et al. 2015), so that in training all steps are run at once;
      with ``input_feeding`` the layer also reads the output layer's last vector (section 3.3), and steps follow each other.

    A deep output layer (Pascanu et al. 2014; Xu et al. 2015, eq. 7) combines the new state, the context and the last token;
    its last matrix is the embedding's.

    Args:
        vocabulary_size: number of tokens.
        embedding_size: of a token, and of the output layer.
        hidden_size: of the recurrent layer.
        context_size: of the memory's values, or of the fixed vector.
        attention: None for a fixed vector.
        attend, input_feeding: see above; with attention only.
        gate: scale the context by β = σ(fᵀh) (Xu et al. 2015, section 4.2.1), h being the query; attention only.
        feed: what becomes of the fixed vector. ``start``: the recurrent layer's state starts from it (Sutskever et al. 2014);
            ``every``: so it does, and reads it at every step (Cho et al. 2014); ``first``: the layer reads it once, before any
            token (Vinyals et al. 2015).
        dropout: on embeddings and on the output layer.
        cell: ``lstm`` or ``gru``.
        vector_size: with attention, size of ``memory.vector`` where the recurrent layer reads it too, at every step, beside
            what it attends to; 0: the vector, of ``context_size``, is where its state starts from and no more.
        cache: a memory may have what was written before, in ``auxiliary``; see ``Cache``.
    Raises:
        UsageError: if ``input_feeding`` is asked for where the context is read before the step.
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
        self.add_module(cell, make_recurrent(cell, read, hidden_size))  # so that weights are named by their cell
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
        """The state before the first token, from ``memory.vector`` (batch, context_size)."""
        vector = _vector(memory)
        zeros = vector.new_zeros(len(vector), self.rnn.hidden_size)
        if self.initial is not None:
            parts = RecurrentState(*self.initial(vector).tanh().chunk(self.rnn.STATES, 1))
        else:
            assert self.first is not None
            blank = RecurrentState(*[zeros] * self.rnn.STATES)
            parts = self.rnn.advance(F.linear(self.first(vector), self.rnn.weight_ih_l0), self.rnn.recur(zeros), blank)
        fed = vector.new_zeros(len(vector), self.embedding_size) if self.input_feeding else None
        attended = None
        if self.attention is not None and self.attention.location_aware:
            # everywhere alike
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
            gates = gates + self._from_vector(memory, len(token))
        state, context, weights, beta = self._advance(gates, products, state, memory)
        features = self._features(state.hidden, context, embedded, products.readout)
        if self.input_feeding:
            state = state._replace(fed=features)
        attention = {} if weights is None else {"attention": weights}
        extras = {} if beta is None else {"gate": beta.squeeze(1)}
        cached = self._look_up_cache(features, torch.arange(len(token), device=token.device), len(token), memory)
        if cached is not None:
            extras |= {"cache": cached.shares.sum(1), "cache_shares": cached.shares}
        return Step(self.logits(features, cached), state, attention, extras)

    def forward(self, memory: Memory, tokens: Tensor, lengths: Tensor | None = None) -> TeacherForced:
        """Teacher forcing.

        Args:
            memory: batch rows.
            tokens: (rows, steps) inputs, rows a multiple of batch and grouped by it.
            lengths: (rows,) real steps of each row, at least 1, on the CPU; None: all. Padding costs little if the rows of each
                input come longest first: the steps that only some of them need are run for those alone.
        """
        rows, steps = tokens.shape
        if lengths is None:
            lengths = torch.full((rows,), steps)
        fused = self.attention is None or (self.after and not self.input_feeding and not self.attention.location_aware)
        forced = self._run_fused(memory, tokens, lengths) if fused else self._run_steps(memory, tokens, lengths)
        return forced._replace(cached=self._look_up_cache(forced.features, forced.kept, rows * steps, memory))

    def logits(self, features: Tensor, cached: Cached | None = None) -> Tensor:
        """(n, embedding_size) to (n, vocabulary_size); with ``cached`` they are log-probabilities, of both together."""
        logits = F.linear(self.dropout(features), self.embedding.weight, self.bias)
        return logits if cached is None else cached.mix(logits)

    def cross_entropy(
        self, forced: TeacherForced, targets: Tensor, label_smoothing: float = 0.0, candidates: Candidates | None = None
    ) -> Tensor:
        """Mean per real token of the targets (rows, steps) of the inputs that ``forced`` was made from.

        With ``candidates`` it is estimated from these alone. With these, and with a cache, there is no smoothing.
        """
        wanted = targets.flatten().index_select(0, forced.kept)
        output = self.dropout(forced.features), self.embedding.weight, self.bias, wanted
        mixture = None if forced.cached is None else forced.cached.mixture(wanted)
        if candidates is not None:
            return sampled_cross_entropy(*output, candidates, mixture)
        return linear_cross_entropy(*output, 0.0 if mixture else label_smoothing, mixture)

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens as the recurrent layer reads them, (..., embedding_size)."""
        # the embedding is also the output matrix, so small; the recurrent layer wants inputs of unit size
        return self.dropout(self.embedding(tokens) * self.embedding_size**0.5)

    def _input_weights(self) -> tuple[Tensor, ...]:
        """The recurrent layer's input weights for the token, for what it reads beside it, and for the vector."""
        read = self.rnn.input_size - self.embedding_size - self.vector_size
        return self.rnn.input_weights(self.embedding_size, read, self.vector_size)

    def _from_vector(self, memory: Memory, rows: int) -> Tensor:
        """The vector's part of the gates (rows, gates), the same at every step."""
        vector = _vector(memory)
        gates = F.linear(vector, self._input_weights()[2])
        return gates.repeat_interleave(rows // len(vector), 0)

    def _advance(
        self, gates: Tensor, products: _Products, state: DecoderState, memory: Memory
    ) -> tuple[DecoderState, Tensor | None, Tensor | None, Tensor | None]:
        """One step from the token's part of the gates: state (without ``fed``), context, attention weights, gate β."""
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
        """Context (rows, context_size), weights (rows, positions), gate (rows, 1) for a query (rows, hidden_size)."""
        if self.attention is None:
            if not self.feeds_every_step:
                return None, None, None
            vector = _vector(memory)
            return vector.repeat_interleave(len(query) // len(vector), 0), None, None
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
        """What a step reads depends on the one before: one by one. What depends on tokens alone is one product."""
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
        """Nothing that the recurrent layer reads depends on what it does: one fused run, and all steps attend at once."""
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
    """An embedding that may also be an output matrix: its rows have unit length on average."""
    embedding = nn.Embedding(vocabulary_size, embedding_size)
    nn.init.normal_(embedding.weight, std=embedding_size**-0.5)
    return embedding


def _vector(memory: Memory) -> Tensor:
    """The vector of a memory.

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
    """The first ``width`` rows of every item, (batch · rows, size) to (batch · width, size)."""
    return part.view(batch, -1, part.shape[1])[:, :width].flatten(0, 1)


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
