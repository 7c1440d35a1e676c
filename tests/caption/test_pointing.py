"""Maps of nouns against boxes: nouns of captions, coverage of cells, pointing and mass, forced references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from condgen_caption.boxes import Box
from condgen_caption.model import CaptionConfig, CaptionModel
from condgen_caption.nouns import find_mentions
from condgen_caption.pointing import Pointing, coverage
from condgen_cli.data.text import WordVocabulary
from condgen_cli.generation import AttentionMap, Axis, Generation
from condgen_cli.item import Item
from condgen_cli.metrics.evaluation import evaluate
from condgen_cli.metrics.suite import Suite, build_suite
from condgen_cli.registry.plugins import manager
from condgen_cli.running.decoding import force
from condgen_cli.running.runner import Bundle, Runner

RIGHT_HALF = Box("dog", 0.5, 0.0, 0.5, 1.0)


def generation(tokens: tuple[str, ...], weights: object) -> Generation:
    array = np.array(weights, np.float32)
    grid = (Axis.numbered("row", "grid", array.shape[1]), Axis.numbered("column", "grid", array.shape[2]))
    return Generation("", attention={"attention": AttentionMap(array, (Axis("token", "tokens", tokens), *grid))})


def scores(boxes: tuple[Box, ...], *captions: Generation) -> dict[str, float]:
    metric = Pointing()
    rows = metric.statistics([Item("1", None, ("x",), meta={"boxes": boxes})], [Generation("", references=captions)])
    return {key: float(value) for key, value in metric.score(rows[0], 1).items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("two dogs and a puppy", [(1, 2, "dog"), (4, 5, "dog")]),
        ("a hot dog near a fire hydrant", [(1, 3, "hot dog"), (5, 7, "fire hydrant")]),
        ("a man at the bus stop", [(1, 2, "person")]),
        ("women eat sandwiches with knives", [(0, 1, "person"), (2, 3, "sandwich"), (4, 5, "knife")]),
        ("a bike", [(1, 2, "bicycle motorcycle")]),
        ("the sky is blue", []),
    ],
)
def test_nouns_of_a_caption(text: str, found: list[tuple[int, int, str]]) -> None:
    mentions = [(one.start, one.end, " ".join(sorted(one.classes))) for one in find_mentions(text.split())]
    assert mentions == found


@pytest.mark.parametrize("name", ["person", "skis", "wine glass", "potted plant", "hair drier", "scissors", "tv", "bench"])
def test_classes_name_themselves(name: str) -> None:
    assert [name in one.classes for one in find_mentions(name.split())] == [True]


def test_strongest_cell_and_weights_in_the_boxes() -> None:
    left = [[0.5, 0.1, 0.1, 0.0], [0.2, 0.1, 0.0, 0.0]]
    right = [[0.0, 0.1, 0.1, 0.0], [0.2, 0.1, 0.5, 0.0]]
    found = scores((RIGHT_HALF, ("cat", 0, 0, 1, 1)), generation(("a", "dog"), [left, right]))
    assert found == pytest.approx({"pointing": 100, "pointing_centre": 100, "mass": 60, "box_area": 50})
    found = scores((RIGHT_HALF,), generation(("dog", "runs"), [left, right]))
    assert found["pointing"] == 0
    assert found["mass"] == pytest.approx(10)


def test_cells_that_a_box_covers_in_part_count_in_part_and_boxes_once() -> None:
    boxes = (Box("dog", 0.25, 0.0, 0.5, 0.5),) * 2
    found = scores(boxes, generation(("dogs",), [[[0.8, 0.0], [0.2, 0.0]]]))
    assert found["mass"] == pytest.approx(40)
    assert found["box_area"] == pytest.approx(25)
    assert found["pointing"] == 100  # (0.25, 0.25) lies on the edge


def test_equally_strong_cells_share_the_hit() -> None:
    found = scores((RIGHT_HALF,), generation(("dog",), np.full((1, 3, 4), 1 / 12)))
    assert found == pytest.approx({"pointing": 50, "pointing_centre": 100, "mass": 50, "box_area": 50})


def test_a_noun_of_several_tokens_has_the_mean_of_their_maps() -> None:
    maps = [[[0.9, 0.1]], [[0.3, 0.7]], [[0.2, 0.8]]]
    assert scores((("fire hydrant", 0, 0, 0.5, 1),), generation(("fire", "hydrant", "red"), maps))["mass"] == pytest.approx(60)
    assert scores((RIGHT_HALF,), generation(("▁do", "gs", "▁run"), maps))["mass"] == pytest.approx(40)


def test_photos_without_boxes_and_captions_without_their_nouns_do_not_count() -> None:
    metric = Pointing()
    captions = Generation("", references=(generation(("cat",), [[[1.0]]]),))
    items = [Item("1", None, ("cat",)), Item("2", None, ("cat",), meta={"boxes": (RIGHT_HALF,)})]
    rows = metric.statistics(items, [captions, captions])
    assert not rows.any()
    assert np.isnan(metric.score(rows.sum(0), 2)["pointing"])
    assert metric.remarks(items[:1], rows[0])["mass"] == "no photo has boxes"
    assert "no noun" in metric.remarks(items, rows[0])["mass"]


@given(
    st.lists(st.tuples(*[st.floats(-0.2, 1.2)] * 4), max_size=4),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_coverage_is_that_of_a_fine_raster(corners: list[tuple[float, ...]], height: int, width: int) -> None:
    boxes = [Box("x", left, top, abs(right - left), abs(bottom - top)) for left, top, right, bottom in corners]
    fine = 60
    y, x = (np.arange(height * fine) + 0.5) / (height * fine), (np.arange(width * fine) + 0.5) / (width * fine)
    raster = np.zeros((len(y), len(x)), bool)
    for _, left, top, w, h in boxes:
        raster |= ((left <= x) & (x <= left + w))[None] & ((top <= y) & (y <= top + h))[:, None]
    shares = raster.reshape(height, fine, width, fine).mean((1, 3))
    np.testing.assert_allclose(coverage(boxes, height, width), shares, atol=4 * 3 / fine)


def test_references_are_forced_and_give_the_maps() -> None:
    torch.manual_seed(0)
    config = CaptionConfig(encoder="lite0", image_size=96, embedding_size=8, hidden_size=8, value_size=8)
    model = CaptionModel(config, WordVocabulary(["a", "dog", "cat"])).eval()
    runner = Runner(model, Bundle("m", "caption", "caption", {}, {}, {}), torch.device("cpu"))
    items = [
        Item("1", Image.new("RGB", (40, 40), "red"), ("a dog", "dog unheard"), meta={"boxes": (RIGHT_HALF,)}),
        Item("2", Image.new("RGB", (40, 40), "blue"), ("cat",)),
    ]
    suite = build_suite(["pointing", "mass"], manager().metrics)
    done = evaluate(runner, items, suite)
    first, second = done.generations
    assert [one.tokens for one in first.references] == [("a", "dog", "<eos>"), ("dog", "<unk>", "<eos>")]
    assert [one.output for one in second.references] == ["cat"]
    with torch.inference_mode():
        (alone,) = force(model, model.encode(model.collate(items[:1])), [[*model.vocabulary.encode("a dog"), 2]])
    maps = first.references[0].attention["attention"]
    np.testing.assert_allclose(maps.weights.reshape(3, 9), alone.attention["attention"], atol=1e-6)
    assert done.statistics[:, 4].tolist() == [2, 0]
    assert set(suite.score(done.statistics.sum(0), 2)) == {"pointing", "mass"}
    assert isinstance(suite, Suite)
