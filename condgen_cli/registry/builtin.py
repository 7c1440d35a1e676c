"""The core's own match functions and metrics, registered like those of a plugin."""

from __future__ import annotations

from condgen_cli.hookspecs import API_VERSION, hookimpl
from condgen_cli.metrics.words import TOKENIZERS
from condgen_cli.specs import MatchFunctionSpec, MetricSpec

CONDGEN_API = API_VERSION


@hookimpl
def condgen_register_match_functions() -> list[MatchFunctionSpec]:
    match = "condgen_cli.nn.match"
    return [
        MatchFunctionSpec("cosine", f"{match}:CosineMatch", "s · cos(h, z), with a learned sharpness s"),
        MatchFunctionSpec("dot", f"{match}:DotMatch", "hᵀz"),
        MatchFunctionSpec("scaled-dot", f"{match}:ScaledDotMatch", "hᵀz / √size"),
        MatchFunctionSpec("bilinear", f"{match}:BilinearMatch", "hᵀWz"),
        MatchFunctionSpec("additive", f"{match}:AdditiveMatch", "a small network: vᵀ tanh(Wz + Uh + b)"),
    ]


@hookimpl
def condgen_register_metrics() -> list[MetricSpec]:
    captions, edits = "condgen_cli.metrics.captions", "condgen_cli.metrics.edits"
    translation, exact = "condgen_cli.metrics.translation", "condgen_cli.metrics.exact"
    return [
        MetricSpec(("bleu1", "bleu2", "bleu3", "bleu4"), f"{captions}:CaptionBleu", "BLEU-1 to 4 as coco-caption's, percent"),
        MetricSpec(("cider",), f"{captions}:Cider", "CIDEr-D as coco-caption's"),
        MetricSpec(("rouge_l",), f"{captions}:RougeL", "ROUGE-L as coco-caption's, percent"),
        MetricSpec(("bleu",), f"{translation}:bleu", "BLEU as sacreBLEU's, percent", tokenizers=TOKENIZERS),
        MetricSpec(("chrf",), f"{translation}:chrf", "chrF2 as sacreBLEU's, percent"),
        MetricSpec(("chrfpp",), f"{translation}:chrf_words", "chrF2++ as sacreBLEU's, percent"),
        MetricSpec(("ter",), f"{translation}:ter", "translation edit rate as sacreBLEU's, percent"),
        MetricSpec(
            ("wer", "substitutions", "deletions", "insertions"),
            f"{edits}:WordErrors",
            "word error rate, percent; its parts",
            tokenizers=("char",),
        ),
        MetricSpec(("cer",), f"{edits}:CharacterErrors", "character error rate, percent"),
        MetricSpec(("accuracy", "error"), f"{exact}:Accuracy", "outputs equal to a reference, percent"),
        MetricSpec(
            ("nll_nats", "bits_per_dim", "bits_per_char", "nats_per_char", "perplexity"),
            "condgen_cli.metrics.likelihood:Likelihood",
            "negative log-likelihood of the references: of each, per token, per character",
            text=False,
        ),
        MetricSpec(
            ("faithfulness", "faithfulness_deletion", "faithfulness_insertion", "faithfulness_nats", "evidence"),
            "condgen_cli.metrics.faithfulness:Faithfulness",
            "how faithful the maps of --explain are: 1 for the true cause, 0 for a random order; and what the memory is worth",
            text=False,
        ),
    ]
