"""How sure a captioner is of what it names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from condgen_caption.confidence import caption_confidence, caption_features, gather
from condgen_caption.model import CaptionConfig, CaptionModel
from condgen_cli.data.text import WordVocabulary
from condgen_cli.item import Item
from condgen_cli.running.request import Request
from condgen_cli.running.runner import Bundle, Runner

SMALL = {"encoder": "lite0", "image_size": 32, "embedding_size": 4, "hidden_size": 4, "value_size": 4, "match_size": 4}


def make(**options: object) -> Runner:
    torch.manual_seed(0)
    model = CaptionModel(CaptionConfig.model_validate({**SMALL, **options}), WordVocabulary(["a", "dog", "cat"])).eval()
    return Runner(model, Bundle("m", "caption", "caption", {}, {}, {}), torch.device("cpu"))


def photo(*references: str) -> Item:
    return Item("photo", Image.new("RGB", (32, 32), "red"), references)


def test_features_are_the_mean_and_the_least_log_probability() -> None:
    assert caption_features(np.array([-1.0, -3.0], np.float32)).tolist() == [1, -2, -3]
    assert caption_features(np.array([0.0, -np.inf], np.float32)).tolist() == [1, -6, -12]
    assert caption_features(np.zeros(0, np.float32)).tolist() == [1, -12, -12]
    assert caption_confidence(np.array([-1.0, -3.0], np.float32), (3.0, 1.0, 0.5)) == pytest.approx(1 / (1 + np.exp(0.5)))


@pytest.mark.parametrize(("offset", "warned"), [(50.0, False), (-50.0, True)])
def test_a_caption_that_is_unlikely_to_be_right_is_warned_of(offset: float, warned: bool) -> None:
    (result,) = make(confidence=(offset, 0.0, 0.0)).stream([photo()], Request())
    assert result.generations[0].confidence == pytest.approx(float(offset > 0))
    assert bool(result.generations[0].warnings) == warned


def test_without_coefficients_nothing_is_claimed() -> None:
    (result,) = make().stream([photo()], Request())
    assert result.generations[0].confidence is None
    assert not result.generations[0].warnings


def test_captions_that_name_things_are_gathered_with_whether_they_are_right() -> None:
    runner = make()
    with torch.no_grad():
        runner.model.decoder.bias[runner.model.vocabulary.encode("dog")[0]] = 30.0
    features, right = gather(runner, [photo("a puppy"), photo("a cat"), photo("a field")])
    assert features.shape == (3, 3)
    assert right.tolist() == [True, False, False]
