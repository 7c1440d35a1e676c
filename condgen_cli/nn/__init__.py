"""Layers that plugins share: match functions, attention, recurrent layers, the recurrent decoder."""

from condgen_cli.nn.attention import Attention, LocationAttention, make_attention
from condgen_cli.nn.cache import CACHE
from condgen_cli.nn.decoder import DecoderState, RecurrentDecoder, make_embedding
from condgen_cli.nn.decoder_model import DecoderModel
from condgen_cli.nn.dropout import Dropout
from condgen_cli.nn.language_model import LanguageModel, LanguageModelScorer
from condgen_cli.nn.loss import Candidates, CandidateSampler, linear_cross_entropy, sampled_cross_entropy
from condgen_cli.nn.match import (
    AdditiveMatch,
    BilinearMatch,
    CosineMatch,
    DotMatch,
    MatchFunction,
    ScaledDotMatch,
    match_function,
)
from condgen_cli.nn.recurrent import make_recurrent, run

__all__ = [
    "CACHE",
    "AdditiveMatch",
    "Attention",
    "BilinearMatch",
    "CandidateSampler",
    "Candidates",
    "CosineMatch",
    "DecoderModel",
    "DecoderState",
    "DotMatch",
    "Dropout",
    "LanguageModel",
    "LanguageModelScorer",
    "LocationAttention",
    "MatchFunction",
    "RecurrentDecoder",
    "ScaledDotMatch",
    "linear_cross_entropy",
    "make_attention",
    "make_embedding",
    "make_recurrent",
    "match_function",
    "run",
    "sampled_cross_entropy",
]
