"""Models of the Hub: pulled, listed, run offline, verified, removed; and published. No transformers is needed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from condgen_cli import settings
from condgen_cli.errors import IntegrityError, NetworkError, NotFoundError, UsageError
from condgen_cli.files.weights import load_weights
from condgen_cli.running.bundle import describe, find_bundle
from condgen_cli.zoo import open_zoo
from condgen_transformers.publishing import make_publication
from condgen_transformers.upload import upload

NAME = "hf:someone/las"


@pytest.fixture
def here(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Hub with an empty store and an empty cache of huggingface_hub before it."""
    import huggingface_hub.constants as constants

    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    settings.clear_command_cache()
    yield hub
    settings.use(settings.Settings())
    settings.clear_command_cache()


def config_only(**more: Any) -> dict[str, bytes]:
    return {"config.json": json.dumps({"model_type": "whisper", **more}).encode()}


def test_a_model_is_published_and_pulled_back(here: Any) -> None:
    """Weights, card with YAML, recipe; then all commands of the store, also without a network."""
    upload(make_publication("las-an4"), "someone/las")
    published = here.revision("someone/las", "main")
    head = yaml.safe_load(published["README.md"].decode().split("---")[1])
    assert head["license"] == "apache-2.0"
    assert head["library_name"] == "condgen"
    assert head["pipeline_tag"] == "automatic-speech-recognition"
    assert head["datasets"] == ["an4"]
    (result, *_) = head["model-index"][0]["results"]
    assert result["metrics"][0]["type"] == "wer"
    assert len(result["metrics"][0]["args"]["interval_95"]) == 2
    assert json.loads(published["recipe.json"])

    with pytest.raises(NotFoundError, match="not on this machine") as missing:
        open_zoo().entry(NAME)
    assert missing.value.hint == f"condgen pull {NAME}"
    entry = open_zoo().obtain(NAME)
    assert entry.task == "transcribe"
    assert entry.licence == "apache-2.0"
    assert entry in open_zoo().entries()
    asked = len(here.requests)
    settings.use(settings.Settings(offline=True))
    settings.clear_command_cache()
    bundle = find_bundle(NAME)
    ours = find_bundle("las-an4")
    assert bundle.config == ours.config
    assert bundle.decoding == ours.decoding
    for name, path in ours.files.items():
        if name.endswith(".safetensors"):
            weights, expected = load_weights(bundle.files[name]), load_weights(path)
            assert weights.keys() == expected.keys()
            assert all(weights[key].equal(expected[key]) for key in weights)
    assert len(here.requests) == asked, "offline, nothing may be asked"
    assert all(not check.problem for check in open_zoo().verify(open_zoo().entry(NAME)))
    with pytest.raises(NetworkError):
        find_bundle("hf:someone/other")

    weights_file = bundle.files["model.safetensors"]
    os.chmod(weights_file, 0o644)
    weights_file.write_bytes(b"damaged")  # in place, so that a link in huggingface_hub's cache is damaged too
    with pytest.raises(IntegrityError):
        find_bundle(NAME)
    settings.use(settings.Settings())
    settings.clear_command_cache()
    open_zoo().pull(open_zoo().entry(NAME))
    assert find_bundle(NAME).files

    assert open_zoo().remove(open_zoo().entry(NAME)) > 1000
    with pytest.raises(NotFoundError):
        open_zoo().entry(NAME)


def test_a_revision_stays(here: Any) -> None:
    """What was pulled stays that commit, until it is pulled again; other revisions have names of their own."""
    upload(make_publication("las-an4"), "someone/las")
    first = open_zoo().obtain(NAME).revision
    here.commits["someone/las"].append({**here.commits["someone/las"][-1], "README.md": b"---\nlicense: mit\n---\n"})
    assert open_zoo().obtain(NAME).revision == first
    again = open_zoo().obtain(NAME, again=True)
    assert again.revision != first
    assert again.licence == "mit"
    old = open_zoo().obtain(f"{NAME}@{first}")
    assert old.revision == first
    assert {entry.id for entry in open_zoo().entries()} >= {NAME, f"{NAME}@{first}"}


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        (None, NotFoundError, "has no model"),
        ({**config_only(), "pytorch_model.bin": b"\x80\x04"}, UsageError, "can run code"),
        ({**config_only(), "tf_model.h5": b""}, UsageError, "can run code"),
        ({"model.safetensors": b""}, NotFoundError, r"config\.json"),
        ({"config.json": b"{", "model.safetensors": b""}, IntegrityError, "can't be read"),
        ({"config.json": b'{"model_type": "llama"}', "model.safetensors": b""}, UsageError, "known: .*whisper"),
    ],
)
def test_what_cannot_be_run_is_refused(here: Any, files: Any, error: Any, words: str) -> None:
    if files is not None:
        here.commits["someone/las"] = [files]
    with pytest.raises(error, match=words):
        describe(NAME)
    assert not any("safetensors" in request for request in here.requests), "weights are fetched last"
    assert not any(".bin" in request for request in here.requests)


def test_the_token_is_needed_and_named(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(NotFoundError, match="asked for"):
        upload(make_publication("las-an4"), "someone/las")


def test_a_published_folder_runs(tmp_path: Path, condgen_env: dict[str, str]) -> None:
    def condgen(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "condgen_cli", *arguments]
        return subprocess.run(command, env=condgen_env, capture_output=True, text=True, timeout=120, check=False)

    folder = tmp_path / "published"
    done = condgen("publish", "nmt-de-en", str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"condgen translate -m {folder}\n"
    assert yaml.safe_load((folder / "README.md").read_text().split("---")[1])["language"] == ["en"]
    translated = condgen("translate", "-m", str(folder), "Ein Hund rennt.")
    assert translated.returncode == 0, translated.stderr
    assert translated.stdout == condgen("translate", "-m", "nmt-de-en", "Ein Hund rennt.").stdout
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert condgen("publish", "nmt-de-en", str(tmp_path / "full")).returncode == 1


def test_options_of_models_are_checked() -> None:
    with pytest.raises(UsageError, match="no option of a model"):
        find_bundle("hf:someone/las,target")
    with pytest.raises(UsageError, match="takes options"):
        find_bundle("las-an4,target=de")
