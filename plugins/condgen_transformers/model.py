"""A model of transformers as a ``SequenceModel``: encoder states are the memory, keys and values of the decoder the state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from condgen_cli.errors import UsageError
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.item import Item
from condgen_cli.model import Memory, SequenceModel, Step, repeat_state
from condgen_cli.running.decoding import Hypothesis, Scorer
from condgen_transformers.attention import read, reading
from condgen_transformers.cache import CROSS, OWN, State, cross_tensors, fill_both, state_of, stored
from condgen_transformers.generation import RULES
from condgen_transformers.options import check_options, parse_heads
from condgen_transformers.rules import SOURCE, Rules
from condgen_transformers.vocabulary import HubVocabulary

__all__ = ["Encoded", "HubModel"]

PREFIX = "prefix"
"""Name of the auxiliary tensor of each row's first tokens (batch, tokens)."""
MASK = "mask"
"""Name of the auxiliary tensor of positions that the network's own cross-attention sees (batch, positions)."""


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of a batch.

    Args:
        states: (batch, positions, size).
        mask: (batch, positions), True for positions that the network's cross-attention sees; None: all.
        shown: (batch, positions), True for positions that an attention map shows, such as those of the recording without
            padding, or patches without the class token; None: those of ``mask``.
        axes: the axes of each row's shown positions.
        source: (batch, positions) ids of a source text.
        prefix: (batch, tokens) first tokens of the decoder, if they depend on the input; None: the model's ``prefix``.
    """

    states: Tensor
    mask: Tensor | None = None
    shown: Tensor | None = None
    axes: Sequence[tuple[Axis, ...]] = ()
    source: Tensor | None = None
    prefix: Tensor | None = None


class HubModel(SequenceModel):
    """The base of all families: an encoder-decoder of transformers.

    A family sets the class attributes and writes ``collate`` and ``read_batch``. The decoder starts with a prefix of tokens,
    of which the last is read as ``bos``. Cross-attention is averaged over layers and heads unless the option ``heads`` says
    otherwise. What lies on positions that aren't shown (padding, a class token) is taken out of the maps, and told as the
    extra ``hidden_as``.

    Attributes:
        cross: end of the names of the modules of cross-attention.
        options: names of the family's options.
        hidden_as: name of the extra for the share of attention on positions that aren't shown; empty: there are none.

    Args:
        network: the network, a model of transformers.
        tokenizer: tokenizer of its outputs.
        prefix: the decoder's first tokens, at least one.
        options: options that the user wrote after the model's name.
        forced: token that is always written first, such as the code of a target language; None: none.
        eos: id of the end token; None: that of the network's generation config.
    """

    vocabulary: HubVocabulary
    cross: ClassVar[str] = ".encoder_attn"
    options: ClassVar[tuple[str, ...]] = ()
    hidden_as: ClassVar[str] = ""

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        prefix: Sequence[int],
        options: Mapping[str, str],
        forced: int | None = None,
        eos: int | None = None,
    ) -> None:
        super().__init__()
        given = check_options(options, ("heads", *self.options), type(self).__name__)
        self.network = network
        self.generation = network.generation_config
        size = self.logits_size()
        end = self.generation.eos_token_id if eos is None else eos
        self.vocabulary = HubVocabulary(tokenizer, size, int(end[0] if isinstance(end, list) else end))
        self.prefix = list(prefix)
        self.forced = forced
        self.rules = Rules.of(size + 1, self.generation)
        self.layers = self.read_attention()
        self.heads = parse_heads(given.get("heads", self.default_heads()))
        self.aligning = self.alignment_heads()
        if self.heads.kind == "align" and not self.aligning:
            raise UsageError("this model doesn't say which of its heads align", "heads=mean")

    @abstractmethod
    def read_batch(self, batch: Any) -> Encoded:
        """Run the encoder on what ``collate`` returned."""

    def logits_size(self) -> int:
        """Number of the network's logits."""
        config = self.network.config.get_text_config(decoder=True)
        return int(config.vocab_size)

    def read_attention(self) -> int:
        """Have the modules of cross-attention read; returns their number."""
        return read(self.network, self.cross)

    def default_heads(self) -> str:
        """The default of the option ``heads``."""
        return "mean"

    def alignment_heads(self) -> list[tuple[int, int]]:
        """Layers and heads that align output and input, as far as the model's files say."""
        return []

    def scorers(self) -> Mapping[str, Scorer]:
        """The scorer ``rules``: what the model's files forbid to write."""
        return {RULES: self.rules}

    def targets(self, text: str) -> list[int]:
        """The ids of a reference, after the token that is forced."""
        return [*([] if self.forced is None else [self.forced]), *super().targets(text)]

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def encode(self, batch: Any) -> Memory:
        """Encoder states as values; keys and values of cross-attention, and the decoder's own of the prefix, as auxiliary
        tensors."""
        found = self.read_batch(batch)
        prefix = found.prefix
        if prefix is None:
            prefix = torch.tensor([self.prefix], device=self.device).expand(len(found.states), -1)
        mask = None if found.mask is None else found.mask.to(self.device)
        auxiliary = {PREFIX: prefix}
        if mask is not None:
            auxiliary[MASK] = mask
        if found.source is not None:
            auxiliary[SOURCE] = found.source.to(self.device)
        shown = found.mask if found.shown is None else found.shown
        shown = None if shown is None else shown.bool().to(self.device)
        return self.refresh(Memory(found.states, None, shown, found.axes, auxiliary))

    def refresh(self, memory: Memory) -> Memory:
        """The memory with the keys and values that the decoder's layers make of ``memory.values``."""
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        prefix = memory.auxiliary[PREFIX]
        with reading(len(memory)):
            self.decode(prefix, cache, memory.values, memory.auxiliary.get(MASK))
        own = state_of(cache.self_attention_cache).first(prefix.shape[1] - 1)
        made = cross_tensors(own, state_of(cache.cross_attention_cache))
        return replace(memory, auxiliary={**memory.auxiliary, **made})

    def decode(self, tokens: Tensor, cache: Any, states: Tensor, mask: Tensor | None) -> Tensor:
        """Logits (rows, steps, size) of tokens (rows, steps) after those in the cache, which grows."""
        found = self.network(
            decoder_input_ids=tokens,
            encoder_outputs=self.wrap(states, mask),
            attention_mask=mask,
            cache=cache,
            use_cache=True,
            return_dict=True,
        )
        logits: Tensor = found.logits
        return logits

    def wrap(self, states: Tensor, mask: Tensor | None) -> Any:
        """Encoder states as the network's ``forward`` takes them."""
        return BaseModelOutput(last_hidden_state=states)

    def start(self, memory: Memory, rows_per_item: int = 1) -> State:
        """The state after the prefix, without its last token."""
        state: State = stored(memory.auxiliary, OWN)
        return repeat_state(state, rows_per_item) if rows_per_item > 1 else state

    def step(self, token: Tensor, state: State, memory: Memory) -> Step:
        """Read one token, and predict the next; ``attention`` is over the shown positions alone."""
        logits, state, weights = self.advance(token.unsqueeze(1), state, memory)
        attention, hidden = self._shown([one[:, :, -1] for one in weights], memory)
        extras = {self.hidden_as: hidden} if self.hidden_as else {}
        return Step(logits[:, -1], state, {"attention": attention}, extras)

    def forward(self, memory: Memory, targets: Tensor) -> Tensor:
        """All steps at once."""
        logits, _, _ = self.advance(targets, self.start(memory, len(targets) // max(1, len(memory))), memory)
        return logits

    def advance(self, tokens: Tensor, state: State, memory: Memory) -> tuple[Tensor, State, list[Tensor]]:
        """Read tokens (rows, steps).

        Returns:
            logits (rows, steps, vocabulary), the next state, and for each layer of cross-attention (rows, heads, steps,
            positions).
        """
        begins = state.steps == len(self.prefix) - 1
        real = torch.where(tokens >= self.vocabulary.pad, self.prefix[-1], tokens)
        cache = fill_both(state, stored(memory.auxiliary, CROSS))
        with reading(len(memory)) as weights:
            logits = self.decode(real, cache, memory.values, memory.auxiliary.get(MASK))
        if begins and self.forced is not None:
            logits[:, 0] = -torch.inf
            logits[:, 0, self.forced] = 0.0
        logits = F.pad(logits, (0, 1), value=-torch.inf)
        return logits, state_of(cache.self_attention_cache), weights

    def _shown(self, weights: Sequence[Tensor], memory: Memory) -> tuple[Tensor, Tensor]:
        """Attention (rows, positions), or (rows, heads, positions) of all heads, over the shown positions, and the share
        (rows,) on others.

        Args:
            weights: for each layer, (rows, heads, positions).
        """
        heads = self.heads
        if heads.kind == "one":
            if not (heads.layer < len(weights) and heads.head < weights[heads.layer].shape[1]):
                layers, each = len(weights), weights[0].shape[1]
                raise UsageError(f"there is no head {heads.layer}.{heads.head}: {layers} layers of {each}", "heads=0.0")
            chosen = weights[heads.layer][:, heads.head]
        elif heads.kind == "align":
            chosen = torch.stack([weights[layer][:, head] for layer, head in self.aligning]).mean(0)
        elif heads.kind == "all":
            chosen = torch.cat(list(weights), 1)
        else:
            chosen = torch.stack([one.mean(1) for one in weights]).mean(0)
        if memory.mask is None:
            return chosen, torch.zeros(len(chosen), device=chosen.device)
        mask = memory.mask.repeat_interleave(len(chosen) // len(memory), 0)
        seen = chosen.masked_fill(~(mask if chosen.dim() == 2 else mask.unsqueeze(1)), 0.0)
        total = seen.sum(-1, keepdim=True)
        hidden = 1 - total.squeeze(-1)
        # a head that looks at nothing that is shown is even over it, so that maps stay distributions
        even = mask.float() / mask.sum(1, keepdim=True).clamp(min=1)
        shares = torch.where(total > 1e-6, seen / total.clamp(min=1e-6), even if chosen.dim() == 2 else even.unsqueeze(1))
        return shares, hidden if hidden.dim() == 1 else hidden.mean(1)

    def finish(self, generation: Generation, hypothesis: Hypothesis, item: Item) -> Generation:
        """The generation with its tokens as they are read, and its heads named ``LAYER.HEAD``."""
        texts = tuple(self.vocabulary.texts(hypothesis.ids))
        steps = Axis("token", "tokens", texts)
        maps = {name: self._name(map, steps) for name, map in generation.attention.items()}
        return replace(generation, tokens=texts, attention=maps)

    def _name(self, map: AttentionMap, steps: Axis) -> AttentionMap:
        axes = [steps, *map.axes[1:]]
        if self.heads.kind == "all":
            each = len(axes[1]) // self.layers
            labels = tuple(f"{number // each}.{number % each}" for number in range(len(axes[1])))
            axes[1] = Axis("head", "heads", labels)
        return AttentionMap(map.weights, tuple(axes))
