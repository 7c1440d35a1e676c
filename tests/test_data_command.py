"""Data sets by name: where they are looked for, and ``condgen data``."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.data.store import (
    check_options,
    find_dataset_root,
    open_dataset,
    parse_options,
    present_root,
    wanted_archives,
)
from condgen_cli.errors import NotFoundError, UsageError
from condgen_cli.registry.plugins import manager
from condgen_cli.specs import Archive, DatasetSpec, Option

SPEC = DatasetSpec(
    "mini",
    "toy",
    "A few lines.",
    "plug_mini:lines",
    options={
        "size": Option("how many", default="10k", choices=("1k", "10k")),
        "subset": Option("which", choices=("clean", "other")),
    },
    archives=(
        Archive("LICENCE", ("https://example.org/LICENCE",)),
        Archive("clean.txt", ("https://example.org/clean.txt",), sets=("clean",)),
        Archive("more/other.txt", ("https://example.org/other.txt",), sets=("other", "both")),
    ),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDGEN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CONDGEN_DATA", raising=False)
    return tmp_path / "home"


def made(*folders: Path) -> Path:
    for folder in folders:
        folder.mkdir(parents=True)
    return folders[0]


def test_a_data_dir_is_the_folder_itself_or_holds_one_of_its_name(home: Path, tmp_path: Path) -> None:
    own = made(tmp_path / "anything")
    assert find_dataset_root(SPEC, own) == own
    parent = made(tmp_path / "all" / "mini", tmp_path / "all" / "other").parent
    assert find_dataset_root(SPEC, parent) == parent / "mini"


def test_the_data_dir_comes_first_then_the_environment_then_the_store(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, named, given_folder = made(home / "data" / "mini"), made(tmp_path / "named"), made(tmp_path / "given")
    assert find_dataset_root(SPEC) == stored
    monkeypatch.setenv("CONDGEN_DATA", str(named))
    assert find_dataset_root(SPEC) == named
    assert find_dataset_root(SPEC, given_folder) == given_folder


def test_a_data_set_that_is_nowhere_is_offered_to_be_pulled(home: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        find_dataset_root(SPEC)
    assert caught.value.hint == "condgen data pull mini"
    with pytest.raises(NotFoundError, match="no folder"):
        find_dataset_root(SPEC, tmp_path / "none")
    with pytest.raises(NotFoundError) as caught:
        find_dataset_root(DatasetSpec("own", "toy", "Your own.", "plug_mini:lines"))
    assert "--data-dir" in str(caught.value.hint)


def test_a_folder_for_all_data_sets_is_not_taken_for_one_that_it_lacks(home: Path, tmp_path: Path) -> None:
    parent = made(tmp_path / "all" / "other").parent
    assert present_root(SPEC, parent) is None
    (parent / "LICENCE").touch()
    assert present_root(SPEC, parent) == parent


def test_every_data_set_refuses_an_unknown_split_and_lists_its_own(tmp_path: Path) -> None:
    for name, spec in manager().datasets.items():
        for split in ("validation", "Train"):
            with pytest.raises(UsageError, match=f"{name} has no split '{split}'") as caught:
                open_dataset(name, split, tmp_path)
            assert caught.value.hint == f"its splits: {', '.join(spec.splits)}"


def test_options_are_checked_and_filled_in() -> None:
    assert check_options(SPEC, {}) == {"size": "10k"}
    assert check_options(SPEC, {"size": "1k", "subset": "clean"}) == {"size": "1k", "subset": "clean"}


@pytest.mark.parametrize(
    ("options", "hint"),
    [({"sise": "1k"}, "size"), ({"unlike": "1"}, "size, subset"), ({"size": "11k"}, "1k"), ({"subset": ""}, "clean, other")],
)
def test_a_wrong_option_is_refused_with_near_names(options: dict[str, str], hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_options(SPEC, options)
    assert hint in str(caught.value.hint)


names = st.text(st.characters(exclude_characters="="), min_size=1).map(str.strip).filter(bool)


bare_values = st.text().map(str.strip).filter(lambda text: text not in ("", "null") and text[0] not in "\"'[")


@given(st.dictionaries(names, bare_values))
def test_assignments_become_options(options: dict[str, str]) -> None:
    assert parse_options(f"{key}={value}" for key, value in options.items()) == options


def test_values_are_read_as_a_recipe_s_are() -> None:
    assert parse_options(["a=5", "b=2024.10", "c='x y'", "d=[5, 7]", "e=true", 'f="null"', "g={split}.de"]) == {
        "a": "5",
        "b": "2024.10",
        "c": "x y",
        "d": "5,7",
        "e": "true",
        "f": "null",
        "g": "{split}.de",
    }
    assert parse_options(["a=1", "b=2", "a=", "b=null"]) == {}


@pytest.mark.parametrize("assignment", ["", "size", "=1k", " =1k"])
def test_what_is_no_assignment_is_refused(assignment: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_options([assignment])


def test_a_subset_has_its_own_archives_and_those_of_all() -> None:
    def paths(subset: str) -> list[str]:
        return [archive.path for archive in wanted_archives(SPEC, subset)]

    assert paths("clean") == ["LICENCE", "clean.txt"]
    assert paths("both") == ["LICENCE", "more/other.txt"]
    with pytest.raises(UsageError, match="subset"):
        wanted_archives(SPEC, "clear")


def test_a_subset_without_default_has_to_be_named() -> None:
    with pytest.raises(UsageError, match="several subsets") as caught:
        wanted_archives(SPEC)
    assert str(caught.value.hint) == "--set subset=NAME, one of: both, clean, other"
    sized = SPEC._replace(archives=tuple(archive._replace(size=5_000_000) for archive in SPEC.archives))
    with pytest.raises(UsageError) as caught:
        wanted_archives(sized)
    assert "clean (5.0 MB), other (5.0 MB)" in str(caught.value.hint)
    # nothing to choose: no option, or no parts
    assert len(wanted_archives(SPEC._replace(options={}))) == 3
    assert len(wanted_archives(SPEC._replace(archives=SPEC.archives[:1]))) == 1


Condgen = Callable[..., CompletedProcess[str]]

PLUGIN = """
from pathlib import Path
from condgen_cli.hookspecs import hookimpl
from condgen_cli.specs import Archive, DatasetSpec, Option

CONDGEN_API = "2"


@hookimpl
def condgen_register_datasets():
    return [
        DatasetSpec(
            name="mini", task="toy", help="A few lines.", open="plug_mini:lines", splits=("train", "test"), licence="CC0-1.0",
            homepage="https://example.org/mini",
            options={"subset": Option("which part", choices=("clean", "other")), "case": Option("of letters", default="lower")},
            archives=(
                Archive("train.txt", ("URL/train.txt",), sha256="TRAIN"),
                Archive("test.txt", ("URL/test.txt",), sets=("clean",)),
                Archive("other.txt", ("URL/none.txt", "URL/other.txt"), sets=("other",)),
            ),
        ),
        DatasetSpec(name="own", task="toy", help="Your own lines.", open="plug_mini:lines"),
    ]


def lines(root, split, subset="", case=""):
    from condgen_cli.errors import NotFoundError
    from condgen_cli.model import Item

    path = Path(root) / f"{split}.txt"
    if not path.exists():
        raise NotFoundError(f"{path} does not exist")
    texts = path.read_text().split()
    return [Item(str(number), getattr(text, case)(), references=(text,)) for number, text in enumerate(texts)]
"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, make_plugin: Callable[[str, str], None]) -> Iterator[Path]:
    """The files on a publisher's server, and the plugin that knows them."""
    folder = made(tmp_path / "published")
    for name, content in {"train.txt": "One two Three", "test.txt": "four FIVE", "other.txt": "six"}.items():
        (folder / name).write_text(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    digest = hashlib.sha256((folder / "train.txt").read_bytes()).hexdigest()
    make_plugin("mini", PLUGIN.replace("URL", url).replace("TRAIN", digest))
    yield folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def stored(condgen_env: dict[str, str]) -> Path:
    """Where the data set is pulled to."""
    return Path(condgen_env["CONDGEN_HOME"]) / "data" / "mini"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.txt")}


def as_json(done: CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_pull_puts_a_data_set_where_ls_and_show_find_it(condgen: Condgen, published: Path, stored: Path) -> None:
    before = {data["name"]: data["folder"] for data in as_json(condgen("data", "ls", "--format", "json"))["datasets"]}
    assert (before["mini"], before["own"]) == (None, None)

    for subset, names in {"clean": ("train.txt", "test.txt"), "other": ("train.txt", "other.txt")}.items():
        pulled = condgen("data", "pull", "mini", "--set", f"subset={subset}")
        assert pulled.returncode == 0, pulled.stderr
        assert pulled.stdout.splitlines() == [str(stored / name) for name in names]
        assert "CC0-1.0" in pulled.stderr
    assert contents(stored) == contents(published)

    listed = condgen("data", "ls").stdout.splitlines()
    assert str(stored) in next(line for line in listed if line.startswith("mini"))
    shown = as_json(condgen("data", "show", "mini", "--set", "case=upper", "--format", "json"))
    assert shown["counts"] == {"train": 3, "test": 2}
    assert shown["sample"] == {"split": "test", "id": "0", "condition": "FOUR", "references": ["four"], "group": ""}


def test_pull_fetches_a_subset_only(condgen: Condgen, published: Path, stored: Path) -> None:
    assert condgen("data", "pull", "mini", "--set", "subset=clean").returncode == 0
    assert set(contents(stored)) == {"train.txt", "test.txt"}


def test_a_file_that_is_not_the_published_one_is_refused(condgen: Condgen, published: Path, stored: Path) -> None:
    (published / "train.txt").write_text("tampered with")
    done = condgen("data", "pull", "mini", "--set", "subset=clean")
    assert done.returncode == 6
    assert "train.txt" in done.stderr
    assert contents(stored) == {}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["data", "pull", "own"], 3, "--data-dir"),
        (["data", "pull", "mini", "--set", "subset=clear"], 2, "clean"),
        (["data", "pull", "mimi"], 3, "mini"),
        (["data", "pull", "mini"], 2, "of: clean, other"),
        (["--offline", "data", "pull", "mini", "--set", "subset=clean"], 7, "offline"),
    ],
)
def test_what_cannot_be_pulled_is_told(
    condgen: Condgen, published: Path, stored: Path, arguments: list[str], code: int, told: str
) -> None:
    done = condgen(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(stored) == {}


def test_show_tells_about_a_data_set_that_is_not_here(condgen: Condgen, published: Path) -> None:
    shown = condgen("data", "show", "mini")
    assert shown.returncode == 0
    facts = ["CC0-1.0", "https://example.org/mini", "train, test", "subset: which part", "condgen data pull mini", "train.txt"]
    assert [fact for fact in facts if fact not in shown.stdout] == []
    assert as_json(condgen("data", "show", "mini", "--format", "json"))["folder"] is None


def test_show_tells_what_keeps_a_split_unread_and_shows_the_others(condgen: Condgen, published: Path, tmp_path: Path) -> None:
    folder = made(tmp_path / "elsewhere" / "mini")
    (folder / "test.txt").write_text("one")
    arguments = ["data", "show", "mini", "--data-dir", str(folder.parent)]
    shown = as_json(condgen(*arguments, "--format", "json"))
    assert shown["counts"] == {"test": 1}
    assert shown["sample"]["references"] == ["one"]
    assert list(shown["problems"]) == ["train"]
    assert "train.txt does not exist" in shown["problems"]["train"]
    text = condgen(*arguments).stdout
    assert "train, test (1 items)" in text
    assert "\nproblem   train: " in text
