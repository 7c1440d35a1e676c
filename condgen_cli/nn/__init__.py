"""Layers that the plugins share: match functions, attention, the recurrent decoder."""

from condgen_cli.nn.attention import Attention
from condgen_cli.nn.decoder import DecoderState, RecurrentDecoder
from condgen_cli.nn.match import (
    AdditiveMatch,
    BilinearMatch,
    CosineMatch,
    DotMatch,
    MatchFunction,
    ScaledDotMatch,
    match_function,
)

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
    "match_function",
]
