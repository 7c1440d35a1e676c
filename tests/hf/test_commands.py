"""Commands with a tiny Whisper, as a user runs them; and what is said where transformers is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from condgen_cli.errors import PluginError, UsageError
from condgen_cli.running.runner import load
from condgen_cli.testing import check_plugin
from condgen_transformers.options import parse_heads

pytestmark = pytest.mark.hf


def test_recordings_longer_than_the_model_reads(tiny: Any, tmp_path: Path, condgen: Any) -> None:
    """70 seconds are cut at silences into parts of at most 30; all heads are shown by their names; words have times."""
    folder = tiny.make("whisper", tmp_path)
    noise = 0.1 * np.random.default_rng(0).standard_normal(70 * 16_000).astype(np.float32)
    for second in (25, 50):
        noise[second * 16_000 : (second + 1) * 16_000] = 0
    soundfile.write(tmp_path / "long.wav", noise, 16_000)
    command = ["transcribe", "-m", f"{folder},language=de", str(tmp_path / "long.wav"), "--heads", "all"]
    done = condgen(*command, "--save-attention", str(tmp_path / "map.json"), "--format", "json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    words = document[0]["words"]
    assert words
    assert all(0 <= word["start"] <= word["end"] <= 70 for word in words)
    assert any(word["start"] >= 50 for word in words)
    (saved,) = json.loads((tmp_path / "map.json").read_text())["attention"].values()
    assert [axis["kind"] for axis in saved["axes"]] == ["tokens", "heads", "time"]
    assert saved["axes"][1]["labels"] == ["0.0", "0.1", "1.0", "1.1"]
    assert saved["axes"][2]["labels"][-1] > 60


def test_options_of_families(tiny: Any, tmp_path: Path) -> None:
    whisper = tiny.make("whisper", tmp_path)
    with pytest.raises(UsageError, match="knows no language 'dee'"):
        load(f"{whisper},language=dee")
    with pytest.raises(UsageError, match="no option 'beam'"):
        load(f"{whisper},beam=3")
    nllb = tiny.make("m2m_100", tmp_path)
    with pytest.raises(UsageError, match="it needs a target language") as missing:
        load(str(nllb))
    assert missing.value.hint == "target=deu_Latn"
    with pytest.raises(UsageError, match="no target language 'xyz'"):
        load(f"{nllb},target=xyz")


def test_heads_are_read() -> None:
    assert parse_heads("3.11") == ("one", 3, 11)
    for wrong in ("", "3", "3.", "x.1", "-1.0", "²"):
        with pytest.raises(UsageError):
            parse_heads(wrong)


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin is whole, and a model says what to install."""
    import condgen_transformers
    from condgen_transformers.building import whisper

    check_plugin(condgen_transformers)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PluginError, match="need transformers") as error:
        whisper({"options": {}}, {})
    assert error.value.hint == "pip install 'condgen[hf]'"
