"""Pictures as sentences: readers, known pixels, what is drawn of them, and the influence of earlier pixels."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from condgen_cli.errors import InputError, NotFoundError, UsageError
from condgen_cli.generation import Generation
from condgen_cli.item import Item
from condgen_cli.running.decoding import Decoding
from condgen_cli.running.runner import Bundle, Request, Runner
from condgen_generate.canvas import known_pixels
from condgen_generate.image_data import PictureItems, binarized_mnist, grey_mnist, pictures
from condgen_generate.image_model import ImageConfig, ImageModel, PixelVocabulary
from condgen_generate.influence import influence
from condgen_generate.pictures import film, page, sheet, to_image

BLACK_WHITE = ("000000", "ffffff")


def digits(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 2, (count, 784)).astype(np.uint8)


def test_both_forms_of_binarised_mnist_hold_the_same(tmp_path: Path) -> None:
    packed, published = tmp_path / "packed", tmp_path / "published"
    packed.mkdir()
    published.mkdir()
    splits = {"train": digits(3), "valid": digits(2), "test": digits(1)}
    np.savez(packed / "binarized_mnist_packbits.npz", **{name: np.packbits(bits, axis=1) for name, bits in splits.items()})
    for name, bits in splits.items():
        np.savetxt(published / f"binarized_mnist_{name}.amat", bits, "%d")
    for split, name in (("train", "train"), ("dev", "valid"), ("test", "test")):
        for folder in (packed, published):
            items = binarized_mnist(folder, split)
            assert len(items) == len(splits[name])
            assert [list(map(int, item.references[0].split())) for item in items] == splits[name].tolist()
            assert items.palette == BLACK_WHITE


def test_binarised_mnist_that_is_not_there_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"binarized_mnist_train\.amat"):
        binarized_mnist(tmp_path, "train")
    (tmp_path / "binarized_mnist_train.amat").write_text("0 1 x")
    with pytest.raises(InputError, match="damaged"):
        binarized_mnist(tmp_path, "train")
    (tmp_path / "binarized_mnist_packbits.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="damaged"):
        binarized_mnist(tmp_path, "train")


def test_grey_levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("condgen_generate.image_data.GREY_DEV", 1)
    head = np.array([0x803, 3, 2, 2], ">u4").tobytes()
    pixels = np.array([0, 63, 64, 255, 1, 2, 3, 4, 128, 191, 192, 5], np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + pixels.tobytes()))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
    assert grey_mnist(tmp_path, "train").pictures.tolist() == [[[0, 0], [1, 3]], [[0, 0], [0, 0]]]
    assert grey_mnist(tmp_path, "dev").pictures.tolist() == [[[2, 2], [3, 0]]]
    assert len(grey_mnist(tmp_path, "test", levels="2")) == 3
    assert grey_mnist(tmp_path, "test").palette == ("000000", "555555", "aaaaaa", "ffffff")
    with pytest.raises(UsageError, match="levels"):
        grey_mnist(tmp_path, "test", levels="1")
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"short")
    with pytest.raises(InputError, match="idx"):
        grey_mnist(tmp_path, "test")


def test_a_folder_of_pictures_in_a_palette(tmp_path: Path) -> None:
    colors = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    for number in range(60):
        image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
        image.paste((*list(colors.values())[number % 3], 255), (0, 0, 8, 4))
        (tmp_path / f"set{number % 2}").mkdir(exist_ok=True)
        image.save(tmp_path / f"set{number % 2}" / f"{number}.png")
    splits = {split: pictures(tmp_path, split, size="4", colors="4") for split in ("train", "dev", "test")}
    assert sum(map(len, splits.values())) == 60
    assert all(splits.values())
    train = splits["train"]
    assert {splits[split].palette for split in splits} == {train.palette}, "the palette is the training pictures'"
    white = train.palette.index("ffffff")
    assert (train.pictures[:, 2:] == white).all(), "what is transparent is white"
    assert {train.palette[index] for index in train.pictures[:, 0, 0]} == {"ff0000", "00ff00", "0000ff"}
    with pytest.raises(UsageError, match="size"):
        pictures(tmp_path, "train", size="100")
    with pytest.raises(NotFoundError, match="too few"):
        pictures(tmp_path / "nothing", "train")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.png"):
        pictures(tmp_path, "train")


def test_a_sheet_is_cut_into_its_tiles(tmp_path: Path) -> None:
    sheet = Image.new("RGBA", (10 * 6, 10 * 6), (0, 0, 0, 0))
    for row in range(10):
        for column in range(10):
            if (row, column) != (9, 9):
                sheet.paste((column * 20, row * 20, 0, 255), (column * 6 + 1, row * 6 + 1, column * 6 + 5, row * 6 + 5))
    sheet.save(tmp_path / "sheet.png")
    splits = [pictures(tmp_path, split, size="4", colors="200", tile="4") for split in ("train", "dev", "test")]
    assert sum(map(len, splits)) == 99, "the blank tile is left out"
    assert all((one.pictures == one.pictures[:, :1, :1]).all() for one in splits), "no tile has its neighbour's pixels"


@given(st.lists(st.integers(0, 9), max_size=20))
def test_a_picture_as_text_and_back(numbers: list[int]) -> None:
    vocabulary = PixelVocabulary(10)
    assert vocabulary.decode(vocabulary.encode(" ".join(map(str, numbers)))) == " ".join(map(str, numbers))


def test_numbers_beyond_the_palette_are_unknown() -> None:
    assert PixelVocabulary(2).encode("0 1 2 x") == [4, 5, 3, 3]


def test_known_pixels() -> None:
    image = Image.new("RGBA", (3, 2), (0, 0, 0, 255))
    image.putpixel((1, 0), (200, 210, 220, 255))
    image.putpixel((2, 1), (255, 255, 255, 0))
    assert known_pixels(Item("1", image), (3, 3), BLACK_WHITE).tolist() == [[0, 1, 0], [0, 0, -1], [-1, -1, -1]]
    assert (known_pixels(Item("1", None), (2, 2), BLACK_WHITE) == -1).all()
    with pytest.raises(InputError, match="3x2 pixels"):
        known_pixels(Item("1", image), (2, 2), BLACK_WHITE)
    with pytest.raises(InputError, match="can't continue a text"):
        known_pixels(Item("1", "once upon a time"), (2, 2), BLACK_WHITE)


def runner(**config: object) -> Runner:
    torch.manual_seed(3)
    config = {"height": 6, "width": 6, "size": 4, "layers": 1, "readout_size": 4, **config}
    model = ImageModel(ImageConfig.model_validate(config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    bundle = Bundle("tiny", "generate", "image", config, {"method": "sample", "max_length": 36}, {})
    return Runner(model, bundle, torch.device("cpu"))


def drawn(runner: Runner, *items: Item, count: int = 3, seed: int = 0) -> list[tuple[Generation, ...]]:
    decoding = Decoding("sample", nbest=count, max_length=100)
    results = list(runner.stream(items, Request(decoding, seed=seed)))
    assert not [result.error for result in results if result.error]
    return [result.generations for result in results]


@pytest.mark.parametrize("network", ["grid", "raster"])
def test_samples_are_whole_pictures_that_a_seed_repeats(network: str) -> None:
    model = runner(network=network)
    (samples,) = drawn(model, Item("free", None))
    for sample in samples:
        assert np.array(sample.details["rows"]).shape == (6, 6)
        assert sample.output == " ".join(str(color) for row in sample.details["rows"] for color in row)
        assert len(sample.tokens) == 37
        assert sample.details["given"] == []
    assert len({sample.output for sample in samples}) > 1
    assert [one.output for one in drawn(model, Item("free", None))[0]] == [one.output for one in samples]
    assert [one.output for one in drawn(model, Item("free", None), seed=1)[0]] != [one.output for one in samples]


def test_sampling_agrees_with_the_exact_likelihood() -> None:
    model = runner()
    (samples,) = drawn(model, Item("free", None))
    for sample in samples:
        (result,) = model.stream([Item("same", None, (sample.output,))], Request(outputs=False, likelihoods=True))
        np.testing.assert_allclose(result.generations[0].reference_log_probs[0], sample.log_probs, atol=1e-4)


def test_completions_keep_what_is_given() -> None:
    half = Image.new("RGB", (6, 3), "white")
    spot = Image.new("RGBA", (6, 6), (0, 0, 0, 0))
    spot.putpixel((4, 4), (255, 255, 255, 255))
    model = runner()
    upper, other = drawn(model, Item("half", half), Item("spot", spot))
    for sample in upper:
        assert sample.details["rows"][:3] == [[1] * 6] * 3
        assert sample.details["given"][3:] == [[-1] * 6] * 3
    assert all(sample.details["rows"][4][4] == 1 for sample in other)
    assert len({sample.output for sample in upper}) > 1


def test_a_picture_of_another_size_harms_no_other() -> None:
    results = list(runner().stream([Item("wide", Image.new("L", (7, 6))), Item("right", Image.new("L", (6, 6)))]))
    assert results[0].error is not None
    assert "7x6" in results[0].error.message
    assert results[1].generations[0].details["rows"] == [[0] * 6] * 6


def test_sheet_and_film() -> None:
    model = runner()
    free = drawn(model, Item("free", None), count=4)
    image = Image.open(io.BytesIO(sheet(free)))
    assert image.format == "PNG"
    scale = image.width // 15
    assert image.size == (15 * scale, 15 * scale), "two by two, with gaps"
    for number, sample in enumerate(free[0]):
        top, left = 1 + number // 2 * 7, 1 + number % 2 * 7
        pixels = [[image.getpixel((scale * (left + x), scale * (top + y))) for x in range(6)] for y in range(6)]
        assert pixels == [[(255,) * 3 if color else (0,) * 3 for color in row] for row in sample.details["rows"]]
    half = drawn(model, Item("half", Image.new("RGB", (6, 3), "white")), count=2)
    row = Image.open(io.BytesIO(sheet(half)))
    assert row.width // 22 == row.height // 8, "the given part first"

    frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(Image.open(io.BytesIO(film(free))))]
    unwritten = [np.all(np.asarray(frame) == (96, 125, 171), axis=-1).sum() for frame in frames]
    assert unwritten == sorted(unwritten, reverse=True)
    assert unwritten[0] > unwritten[-1]
    np.testing.assert_array_equal(np.asarray(frames[-1]), np.asarray(image))


def test_page_holds_pictures_and_probabilities() -> None:
    (samples,) = drawn(runner(), Item("free", None), count=2)
    text = page([samples]).decode()
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert [one["rows"] for one in data["pictures"]] == [sample.details["rows"] for sample in samples]
    assert len(data["pictures"][0]["probabilities"]) == 37
    assert not re.search("https?:", text), "it needs nothing from elsewhere"


def test_unknown_pixels_have_a_colour_of_their_own() -> None:
    image = to_image(np.array([[0, 1, -1]]), BLACK_WHITE)
    assert [image.getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (255, 255, 255), (96, 125, 171)]


def test_influence_is_of_earlier_pixels_alone_and_the_grid_looks_up() -> None:
    maps = {}
    for network, more in (("grid", {"radius": 1, "layers": 2}), ("raster", {})):
        found = influence(runner(network=network, height=10, width=10, **more))
        (weights,) = found.attention["influence"].weights
        assert weights.sum() == pytest.approx(1, abs=1e-5)
        middle = weights.shape[1] // 2
        assert not weights[-1, middle:].any(), "neither the pixel itself nor what comes after it"
        maps[network] = float(weights[-2, middle])
    assert maps["grid"] > maps["raster"]


def test_influence_of_no_picture_model() -> None:
    with pytest.raises(UsageError, match="doesn't write pictures"):
        influence(Runner(torch.nn.Linear(1, 1), Bundle("line", "generate", "line", {}, {}, {}), torch.device("cpu")))


def test_items_are_a_sequence() -> None:
    items = PictureItems(np.zeros((2, 1, 2), np.uint8), BLACK_WHITE, "test")
    assert [item.references for item in items] == [("0 0",), ("0 0",)]
    assert items[1].id == "test-1"
    with pytest.raises(IndexError):
        items[2]
