"""What tells one evaluation from another: signatures and the settings in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace

from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.metrics.evaluation import decoding_of
from condgen_cli.metrics.report import Setup, report
from condgen_cli.metrics.suite import build_suite
from condgen_cli.registry.plugins import manager
from condgen_cli.running.decoding import Decoding

ITEMS = [Item("1", None, ("a b c d",)), Item("2", None, ("b",))]
SETUP = Setup("multi30k", "test", {"source": "de", "target": "en"}, None, decoding_of(Decoding()))


def signature(setup: Setup, items: list[Item] | None = None, seed: int = 1, resamples: int = 0) -> str:
    suite = build_suite(["accuracy"], manager().metrics)
    items = ITEMS if items is None else items
    outputs = [Generation("a b c d")] * len(items)
    statistics = suite.statistics(items, outputs)
    return report(suite, items, outputs, statistics, seed=seed, resamples=resamples, setup=setup).signature


def test_a_signature_names_every_setting() -> None:
    assert signature(SETUP, seed=7, resamples=10).split("|condgen:")[0] == (
        "nrefs:1|case:mixed|tok:space|data:multi30k|split:test|set:source=de,target=en|refs:4834c811"
        "|search:method=beam,beam=5,nbest=1,length_penalty=0,max_length=50,min_length=1,no_repeat_ngram=0,recombine=0,"
        "threshold=0,second_pass=False|n:2|bs:10|seed:7"
    )


def test_runs_that_differ_have_signatures_that_differ() -> None:
    drawn = replace(SETUP, decoding=decoding_of(Decoding(method="sample")))
    runs = [
        signature(SETUP),
        signature(replace(SETUP, dataset="parallel")),
        signature(replace(SETUP, split="dev")),
        signature(replace(SETUP, options={"source": "fr", "target": "en"})),
        signature(replace(SETUP, options={"source": "de"})),
        signature(SETUP, ITEMS[:1]),
        signature(SETUP, [ITEMS[0], replace(ITEMS[1], references=("c",))]),  # another --data-dir
        signature(SETUP, resamples=10),
        signature(SETUP, seed=2, resamples=10),
        signature(replace(SETUP, decoding={})),
        signature(drawn),
        signature(drawn, seed=2),
    ]
    assert len(set(runs)) == len(runs)
    assert signature(SETUP, seed=2) == signature(SETUP)  # nothing is drawn


def test_every_setting_of_a_search_counts_that_can_change_its_output() -> None:
    other = {
        "beam": 4,
        "nbest": 2,
        "length_penalty": 0.5,
        "temperature": 0.7,
        "top_k": 3,
        "top_p": 0.9,
        "max_length": 49,
        "min_length": 2,
        "no_repeat_ngram": 3,
        "recombine": 4,
        "threshold": 0.25,
        "weights": {"ctc": 0.5},
        "second_pass": True,
        "ends": "full",
    }
    for field in fields(Decoding):
        if field.name not in other:
            continue
        changes = {field.name: other[field.name]}
        drawing = field.name in ("temperature", "top_k", "top_p")
        beaming = field.name in ("beam", "nbest")
        assert (decoding_of(Decoding(**changes)) != decoding_of(Decoding())) is not drawing
        sampled = replace(Decoding(method="sample"), **changes)
        assert (decoding_of(sampled) != decoding_of(Decoding(method="sample"))) is not beaming
    # two ways to say greedy, and a scorer without a say
    greedy = Decoding(method="greedy")
    assert decoding_of(greedy) == decoding_of(replace(greedy, beam=1))
    assert decoding_of(Decoding(weights={"ctc": 0.0})) == decoding_of(Decoding())
    assert set(asdict(Decoding())) - set(other) == {"method"}, "say whether a new setting counts"


options = st.dictionaries(
    st.text("ab,=|%", min_size=1, max_size=4), st.text("ab,=|% \n\u4e2d", min_size=1, max_size=4), max_size=3
)


@given(options, options)
def test_signatures_are_equal_exactly_where_settings_are(first: Mapping[str, str], second: Mapping[str, str]) -> None:
    one, other = (signature(replace(SETUP, options=found)) for found in (first, second))
    assert (one == other) == (first == second)
    assert signature(replace(SETUP, options=dict(reversed(first.items())))) == one
    assert one.count("|") == signature(SETUP).count("|") - (not first)
    assert one.isprintable()
