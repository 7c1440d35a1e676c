"""``condgen generate`` with a model of pictures, and a look inside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condgen_cli.cli.app import run
from condgen_generate.image_model import ImageConfig, ImageModel


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    config = ImageConfig(height=8, width=8, size=4, layers=1, radius=1)
    weights = {name: tensor.contiguous() for name, tensor in ImageModel(config).state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    description = {
        "task": "generate",
        "architecture": {"name": "image", "config": config.model_dump()},
        "decoding": {"method": "sample", "max_length": 64},
        "files": ["model.safetensors"],
    }
    (folder / "model.json").write_text(json.dumps(description))
    return str(folder)


def generated(model: str, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    assert run(["generate", "-m", model, *arguments]) == code
    out, err = capsys.readouterr()
    return out, err


def test_a_sheet_a_film_and_a_page(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("digits.png", "digits.gif", "digits.html"):
        assert generated(model, capsys, "-n", "4", "-o", str(tmp_path / name))[0] == ""
    sheet, film = Image.open(tmp_path / "digits.png"), Image.open(tmp_path / "digits.gif")
    assert sheet.size == film.size
    assert film.n_frames > 30
    film.seek(film.n_frames - 1)
    np.testing.assert_array_equal(np.asarray(film.convert("RGB")), np.asarray(sheet.convert("RGB")))
    page = (tmp_path / "digits.html").read_text()
    assert '"pictures":[{"rows":[[' in page
    assert """http-equiv="Content-Security-Policy" content="default-src 'none'; """ in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.gif", "digits.html", "digits.png"], (
        "nothing is left over"
    )


def test_json_holds_pictures_that_a_seed_repeats(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    first, again, other = (
        json.loads(generated(model, capsys, "-n", "2", "--format", "json", "--seed", seed)[0]) for seed in ("1", "1", "2")
    )
    assert first == again != other
    for entry in first:
        assert np.array(entry["rows"]).shape == (8, 8)
        assert entry["palette"] == ["000000", "ffffff"]
        assert entry["output"].split() == [str(color) for row in entry["rows"] for color in row]


def test_plain_text_draws_two_signs_for_a_pixel(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(generated(model, capsys, "--format", "json")[0])[0]["rows"]
    wanted = "\n".join("".join("@@" if color else "  " for color in row).rstrip() for row in rows)
    assert generated(model, capsys)[0] == f"{wanted}\n"
    stages = generated(model, capsys, "--show-process")[0].split(f"{wanted}\n", 1)[1]
    assert stages.count("@") < 6 * wanted.count("@")
    assert stages.rstrip().endswith(wanted.rstrip())


def test_completions_of_several_parts_of_which_one_is_broken(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (8, 4), "white").save(tmp_path / "half.png")
    Image.new("RGB", (9, 4), "white").save(tmp_path / "wide.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    parts = [value for name in ("half", "wide", "broken", "missing") for value in ("--complete", str(tmp_path / f"{name}.png"))]
    out, err = generated(model, capsys, *parts, "-n", "2", "-o", str(tmp_path / "done.png"), code=4)
    assert out == ""
    assert "wide.png has 9x4 pixels, the model writes 8x8" in err
    assert "broken.png is not a photo" in err
    assert "missing.png" in err
    sheet = np.asarray(Image.open(tmp_path / "done.png").convert("RGB"))
    scale = sheet.shape[0] // 10
    assert sheet.shape[:2] == (10 * scale, 28 * scale), "a row: the part and two samples"
    for left in (1, 10, 19):
        assert (sheet[scale : 5 * scale, left * scale : (left + 8) * scale] == 255).all()


def test_refusals(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "goes on from no text" in generated(model, capsys, "hello", code=1)[1]
    assert "without a prompt" in generated(model, capsys, "hello", "--complete", "half.png", code=2)[1]
    assert "does not exist" in generated(model, capsys, "-o", str(tmp_path / "no" / "digits.png"), code=3)[1]
    assert "goes without --script, --stop" in generated(model, capsys, "--script", "traditional", "--stop", "x", code=2)[1]
    assert "is a picture" in generated(model, capsys, "--show-process", "-o", str(tmp_path / "x.png"), code=2)[1]


def test_a_picture_is_the_same_among_more(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def outputs(*arguments: str) -> list[str]:
        return [row["output"] for row in json.loads(generated(model, capsys, "--format", "json", *arguments)[0])]

    (alone,) = outputs("--seed", "4")
    assert alone in outputs("--seed", "4", "-n", "3")
    for name, color in (("white", "white"), ("black", "black")):
        Image.new("RGB", (8, 4), color).save(tmp_path / f"{name}.png")
    white, black = (["--complete", str(tmp_path / f"{name}.png")] for name in ("white", "black"))
    assert outputs(*black, *white)[1:] == outputs(*white)


def test_influence(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "--help"]) == 0
    assert "--influence" in capsys.readouterr().out
    assert run(["inspect", model, "--influence", "--save-attention", str(tmp_path / "map.png")]) == 0
    assert "influence of earlier pixels" in capsys.readouterr().out
    assert Image.open(tmp_path / "map.png").width > 100
    assert run(["inspect", model, "--influence", "--format", "json"]) == 0
    weights = np.array(json.loads(capsys.readouterr().out)["attention"]["influence"]["weights"])
    assert weights.sum() == pytest.approx(1, abs=1e-3)
    assert run(["inspect", model, "input", "--influence"]) == 2
    assert run(["inspect", model, "--save-attention", "map.png"]) == 2


def test_influence_is_of_pictures_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "sat", "--influence"]) == 2
    assert "architecture image" in capsys.readouterr().err
