"""Translation metrics, computed by sacreBLEU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from condgen_cli.generation import Generation
from condgen_cli.metrics import Metric
from condgen_cli.metrics.words import NO_TEXT, hold_text, is_installed, missing_tokenizer, tokenizers_for

if TYPE_CHECKING:
    from condgen_cli.item import Item

__all__ = ["SacreBleu", "bleu", "chrf", "chrf_words", "ter"]


class SacreBleu(Metric):
    """A metric of sacreBLEU, by means of the two methods that its significance tests use.

    Statistics: those of sacreBLEU. Outputs and references are detokenised texts, which sacreBLEU tokenises.

    Args:
        key: key of the score.
        metric: metric object of sacreBLEU.
        item_key: the key, if the score is meaningful for one item.
        reads_blanks: whether words are separated at white space.
        notes: remarks that apply to any texts.
    """

    keys: tuple[str, ...] = ()

    def __init__(
        self, key: str, metric: BLEU | CHRF | TER, item_key: str = "", reads_blanks: bool = False, notes: tuple[str, ...] = ()
    ) -> None:
        self.keys = (key,)
        self.item_key = item_key
        self.reads_blanks = reads_blanks
        self.lower_is_better = isinstance(metric, TER)
        self._metric = metric
        self._notes = notes

    @property
    def signature(self) -> str:
        # sacreBLEU adds the number of references; a report's signature gives it for all metrics
        self._metric.num_refs = 1
        return str(self._metric.get_signature()).removeprefix("nrefs:1|")

    def statistics(self, items: Sequence[Item], generations: Sequence[Generation]) -> NDArray[np.float64]:
        if not items:
            return np.zeros((0, len(self._statistics([""], [("",)])[0])))
        return np.array(self._statistics([g.output for g in generations], [item.references for item in items]), np.float64)

    def _statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> list[list[int]]:
        most = max(map(len, references))
        streams = [[row[index] if index < len(row) else None for row in references] for index in range(most)]
        # None marks a missing reference: documented, though not in the type annotation
        return self._metric._extract_corpus_statistics(outputs, streams)  # type: ignore[arg-type]

    def remarks(self, items: Sequence[Item], totals: NDArray[np.float64]) -> dict[str, str]:
        remarks = list(self._notes)
        if not hold_text(items):
            remarks.append(NO_TEXT)
        elif isinstance(self._metric, BLEU) and not totals[-1]:
            remarks.append(f"it is 0, as no output has {self._metric.max_ngram_order} words")
        return {self.keys[0]: "; ".join(remarks)} if remarks else {}

    def score(self, totals: NDArray[np.float64], n: int) -> dict[str, NDArray[np.float64]]:
        rows = totals.reshape(-1, totals.shape[-1])
        if not isinstance(self._metric, TER):  # whose mean lengths of references are no whole numbers
            rows = rows.round().astype(int)
        values = [self._metric._aggregate_and_compute([row.tolist()]).score for row in rows]
        return {self.keys[0]: np.array(values).reshape(totals.shape[:-1])}


def bleu(tokenize: str = "", language: str = "") -> SacreBleu:
    """Build BLEU.

    Args:
        tokenize: one of ``condgen_cli.metrics.words.TOKENIZERS``; empty: the best installed one for the language.
        language: language code of the references; empty: unknown.
    Raises:
        NotFoundError: if ``tokenize`` names a tokenizer that isn't installed.
    """
    notes: tuple[str, ...] = ()
    if not tokenize:
        best = tokenizers_for(language)
        tokenize = next(name for name in best if is_installed(name))
        if tokenize != best[0]:
            missing = missing_tokenizer(best[0])
            notes = (f"computed with {tokenize}, since {missing.message}: {missing.hint}",)
    elif not is_installed(tokenize):
        raise missing_tokenizer(tokenize)
    # force: no warning of tokenised texts; the signature names the tokenizer
    metric = BLEU(force=True, tokenize=tokenize)
    return SacreBleu("bleu", metric, reads_blanks=tokenize in ("13a", "intl", "none"), notes=notes)


def chrf() -> SacreBleu:
    return SacreBleu("chrf", CHRF(), item_key="chrf")


def chrf_words() -> SacreBleu:
    """chrF++, which adds unigrams and bigrams of words (Popović 2017)."""
    return SacreBleu("chrfpp", CHRF(word_order=2), item_key="chrfpp")


def ter() -> SacreBleu:
    """Translation edit rate: edits and shifts, in percent of the reference's words (Snover et al. 2006)."""
    return SacreBleu("ter", TER(), item_key="ter", reads_blanks=True)
