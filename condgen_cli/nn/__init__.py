"""Layers that the plugins share: match functions, attention, recurrent layers, the recurrent decoder."""

from condgen_cli.nn.attention import Attention
from condgen_cli.nn.decoder import DecoderState, RecurrentDecoder, make_embedding
from condgen_cli.nn.match import (
    AdditiveMatch,
    BilinearMatch,
    CosineMatch,
    DotMatch,
    MatchFunction,
    ScaledDotMatch,
    match_function,
)
from condgen_cli.nn.recurrent import recurrent, run

__all__ = [
    "AdditiveMatch",
    "Attention",
    "BilinearMatch",
    "CosineMatch",
    "DecoderState",
    "DotMatch",
    "MatchFunction",
    "RecurrentDecoder",
    "ScaledDotMatch",
    "make_embedding",
    "match_function",
    "recurrent",
    "run",
]
