"""Files of data sets are inputs: nothing that is written takes their place."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from condgen_cli.data.archives import Member, open_tree
from condgen_cli.data.store import open_dataset
from condgen_cli.errors import UsageError
from condgen_cli.files import refuse_input
from condgen_cli.files.inputs import forget_inputs

BABI = "1 Mary went to the kitchen.\n2 Where is Mary?\tkitchen\t1\n"
DIALOGUE = json.dumps({"messages": ["Hello there.", "Hi.", "How are you?", "Fine."]})


def is_refused(path: Path) -> bool:
    try:
        refuse_input(path)
    except UsageError:
        return True
    return False


def _idx(root: Path) -> None:
    header = np.array([0x803, 2, 28, 28], ">u4").tobytes()
    (root / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(2 * 28 * 28)))


def _digits(root: Path) -> None:
    np.savetxt(root / "binarized_mnist_test.amat", np.zeros((2, 784), int), "%d")


def _picture(root: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(root / "a.png")


def _captions(root: Path) -> None:
    _picture(root)
    (root / "captions.tsv").write_text("a.png\ta red square\ttest\n")


@pytest.mark.parametrize(
    ("dataset", "files", "options"),
    [
        ("stories", {"test.txt": BABI}, {}),
        ("dialogues", {"test.jsonl": DIALOGUE}, {"filter": "no"}),
        ("text-file", {"input.txt": "To be, or not to be. " * 2000}, {}),
        ("mnist", _idx, {}),
        ("binarized-mnist", _digits, {}),
        ("captioned-folder", _captions, {}),
    ],
)
def test_what_a_reader_opens_is_an_input(dataset: str, files: object, options: dict[str, str], tmp_path: Path) -> None:
    if isinstance(files, dict):
        for name, content in files.items():
            (tmp_path / name).write_text(content)
    else:
        files(tmp_path)  # type: ignore[operator]
    own = sorted(tmp_path.iterdir())
    other = tmp_path / "yesterdays.jsonl"
    other.write_text("")
    forget_inputs()
    assert next(iter(open_dataset(dataset, "test", tmp_path, options)), None) is not None
    assert [path.name for path in own if is_refused(path)] == [path.name for path in own]
    assert not is_refused(other)


def test_members_of_a_folder_and_archives_are_inputs(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").write_text("b")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("d.txt", "d")
    forget_inputs()
    Member(open_tree(tmp_path), "a.txt")  # before it is read
    open_tree(tmp_path / "c.zip")
    assert [is_refused(tmp_path / name) for name in ("a.txt", "b.txt", "c.zip")] == [True, False, True]
    open_tree(tmp_path).read("b.txt")
    assert is_refused(tmp_path / "b.txt")
