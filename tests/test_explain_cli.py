"""``--explain`` of a task, of inspect and of eval, on a caption model with random weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from condgen_caption.model import build
from condgen_cli.cli.app import run
from condgen_cli.data.text import WordVocabulary

METHODS = "occlusion,attention,gradient,gradient-norm,integrated-gradients,input-occlusion"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs ``sat`` and ``nic``, a photo, and a data set of two photos."""
    folder = tmp_path_factory.mktemp("explain")
    for kind in ("sat", "nic"):
        home = folder / kind
        home.mkdir()
        sizes = {"image_size": 64, "embedding_size": 8, "hidden_size": 24, "value_size": 16, "match_size": 12}
        config = {"kind": kind, "encoder": "lite0", **sizes}
        vocabulary = home / "vocabulary.json"
        WordVocabulary.build(["two dogs run over the green grass"]).save(vocabulary)
        torch.manual_seed(0)
        save_file(build(config, {vocabulary.name: vocabulary}).state_dict(), home / "model.safetensors")
        description = {
            "architecture": {"name": "caption", "config": config},
            "task": "caption",
            "decoding": {"beam": 2, "max_length": 5},
            "files": ["vocabulary.json", "model.safetensors"],
        }
        (home / "model.json").write_text(json.dumps(description))
    data = folder / "data"
    data.mkdir()
    photo = Image.linear_gradient("L").convert("RGB").resize((90, 60))
    photo.save(folder / "photo.png")
    photo.save(data / "a.png")
    photo.rotate(180).save(data / "b.png")
    (data / "captions.tsv").write_text("a.png\ttwo dogs\ttest\nb.png\tthe green grass\ttest\n")
    return folder


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    return (code, *capsys.readouterr())


def test_every_method_gives_a_map_of_its_name_in_all_formats(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    caption = ("caption", folder / "photo.png", "-m", folder / "sat", "--force", "two dogs run", "--explain", METHODS)
    code, out, err = call(capsys, *caption, "--format", "json")
    assert (code, err) == (0, "")
    (found,) = json.loads(out)
    assert list(found["attention"]) == METHODS.split(",")
    for name, map in found["attention"].items():
        assert [axis["kind"] for axis in map["axes"]] == ["tokens", "grid", "grid"], name
        sums = np.array(map["weights"]).sum((1, 2))
        assert all(total == pytest.approx(1, abs=1e-4) or total == 0 for total in sums), name
    for suffix in ("txt", "html", "npz", "png"):
        code, _, err = call(capsys, *caption, "--save-attention", folder / f"map.{suffix}")
        assert (code, err) == (0, "")
    text = (folder / "map.txt").read_text()
    assert all(f"\n{name}\n" in text for name in METHODS.split(","))
    page = (folder / "map.html").read_text("utf-8")
    panels = json.loads(re.findall(r'id="data">(.*?)</script>', page)[0])["panels"]
    assert [panel["title"] for panel in panels] == METHODS.split(",")
    assert "switch between the maps" in page
    assert "weights/input-occlusion" in np.load(folder / "map.npz")
    code, out, _ = call(capsys, *caption[:-1], "occlusion", "--save-attention", folder / "one.png")
    assert "\n\n" not in out  # what is saved isn't printed
    alone, all_six = Image.open(folder / "one.png"), Image.open(folder / "map.png")
    assert all_six.width > 1.8 * alone.width


def test_what_is_explained_is_printed_and_forced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(
        capsys, "caption", folder / "photo.png", "-m", folder / "sat", "--explain", "gradient", "--force", "two dogs"
    )
    assert code == 0
    assert out.startswith("two dogs\n\ngradient\n")


def test_a_contrast_has_a_map_of_two_outputs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--force", "two dogs", "--contrast", "green grass")
    code, out, _ = call(capsys, "inspect", folder / "sat", folder / "photo.png", *options, "--format", "json")
    assert code == 0
    (found,) = json.loads(out)
    assert found["attention"]["occlusion"]["axes"][0]["labels"] == ["two dogs", "green grass"]
    weights = np.array(found["attention"]["occlusion"]["weights"])
    assert not (weights[0] * weights[1]).any()  # a position speaks for one of the two
    code, _, err = call(capsys, "inspect", folder / "sat", folder / "photo.png", "--contrast", "a", "--explain", "attention")
    assert (code, "--explain occlusion" in err) == (2, True)


def test_eval_scores_each_method_on_the_same_outputs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate = ("eval", folder / "sat", "--dataset", "captioned-folder", "--data-dir", folder / "data", "--format", "json")
    metric = ("--metric", "faithfulness", "--metric", "evidence")
    code, out, _ = call(capsys, *evaluate, *metric, "--explain", "attention,occlusion", "--paired")
    assert code == 0
    found = json.loads(out)
    assert [one["explain"] for one in found["results"]] == ["attention", "occlusion"]
    assert [one["model"].rpartition(" by ")[2] for one in found["results"]] == ["attention", "occlusion"]
    assert "|explain:occlusion|" in found["results"][1]["signature"]
    assert set(found["results"][0]["metrics"]) == {"faithfulness", "evidence"}
    assert found["results"][0]["metrics"]["evidence"] == found["results"][1]["metrics"]["evidence"]
    assert found["paired"][0]["n"] == 2
    code, _, err = call(capsys, *evaluate, "--metric", "cider", "--explain", "occlusion")
    assert (code, "--metric faithfulness" in err) == (2, True)


@pytest.mark.parametrize(
    ("model", "explain", "code", "said"),
    [
        ("sat", "occlusions", 3, "occlusion"),
        ("sat", ",", 2, "--explain attention"),
        ("nic", "occlusion", 2, "--explain input-occlusion"),
        ("nic", "attention", 2, "--explain input-occlusion"),
        ("nic", "input-occlusion", 0, ""),
    ],
)
def test_what_cannot_be_explained_is_one_line_with_a_hint(
    folder: Path, capsys: pytest.CaptureFixture[str], model: str, explain: str, code: int, said: str
) -> None:
    found, _, err = call(capsys, "caption", folder / "photo.png", "-m", folder / model, "--explain", explain)
    assert found == code
    assert said in err
    assert "Traceback" not in err


def test_explaining_needs_an_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "inspect", folder / "sat", "--explain", "occlusion")
    assert (code, "condgen inspect MODEL INPUT" in err) == (2, True)
