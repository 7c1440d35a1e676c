"""Manifests and the names in them: whatever a stranger writes, it is understood or refused in one line."""

from __future__ import annotations

import json
import ntpath
import os
import posixpath
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from condgen_cli.cli.app import run
from condgen_cli.errors import IntegrityError
from condgen_cli.files.names import check_contained, safe_path, safe_url
from condgen_cli.zoo import parse_manifest
from condgen_cli.zoo.manifest import SCHEMA
from tests.zoo.conftest import file_entry, manifest, model_entry

PART = st.sampled_from(["a", "weights", "..", ".", "", "C:", "c:x", "NUL", "con.txt", "x.", "x ", "~", "é", "a b"])
NAME = st.one_of(st.text(max_size=20), st.lists(PART, max_size=4).map("/".join), st.lists(PART, max_size=4).map("\\".join))


def rejected(document: Any) -> str:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(IntegrityError) as failure:
        parse_manifest(data, "zoo.json")
    assert "\n" not in failure.value.message
    assert "zoo.json" in failure.value.message
    return failure.value.message


@given(NAME)
def test_a_name_that_is_accepted_stays_below_its_folder_everywhere(name: str) -> None:
    try:
        safe_path(name)
    except ValueError:
        return
    for module in (posixpath, ntpath):
        assert not module.isabs(name)
        assert not module.splitdrive(name)[0]
        inside = module.normpath(module.join("root", name))
        assert inside.startswith("root" + module.sep)
        assert inside.count(module.sep) == name.count("/") + 1
    assert not set(name) & {"\0", "\\", "\n", "\x1b"}


@pytest.mark.parametrize("name", ["model.safetensors", "weights/sat-0a1b2c3d.safetensors", "a/b/c.json", "..a", "été.json"])
def test_plain_names_are_accepted(name: str) -> None:
    assert safe_path(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "./a",
        "a/",
        "C:/x",
        "c:x",
        "a\\b",
        "\\\\host\\x",
        "a\0b",
        "a\nb",
        "nul",
        "x" * 300,
        "\ud800",
    ],
)
def test_names_that_could_leave_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        safe_path(name)
    file = {**file_entry("x", b""), "urls": ["weights/x"]}
    rejected({"schema": 1, "entries": [model_entry("m", {**file, "path": name})]})
    rejected({"schema": 1, "entries": [model_entry("m", {**file, "urls": [name]})]})


@pytest.mark.parametrize("url", ["https://host/a?b=c", "hf://org/repo/file", "file:///a/b", "S3://bucket/key", "weights/x"])
def test_urls_of_plain_transports_are_accepted(url: str) -> None:
    assert safe_url(url) == url


@pytest.mark.parametrize(
    "url", ["reference://x", "python://x", "zip://a::https://h/z", "https://h/a b", "https://h/\n", "data:,x"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        safe_url(url)


def test_a_link_may_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "outside").write_text("")
    (tmp_path / "store" / "in").symlink_to(tmp_path / "store" / "target")
    (tmp_path / "store" / "out").symlink_to("../outside")
    (tmp_path / "alias").symlink_to(tmp_path / "store")
    assert check_contained(tmp_path / "alias" / "in", tmp_path / "alias")
    with pytest.raises(IntegrityError, match="leads out"):
        check_contained(tmp_path / "store" / "out", tmp_path / "store")


def test_a_whole_entry_is_read() -> None:
    entry = model_entry(
        "sat",
        file_entry("model.safetensors", b"x", "weights/a.safetensors", "https://example.org/a.safetensors"),
        aliases=["show-attend-tell"],
        decoding={"beam": 5},
        card="cards/sat.md",
        data=[{"name": "Flickr8k", "licence": "research only", "url": "https://example.org"}],
        results=[{"dataset": "flickr8k", "split": "test", "metric": "bleu4", "value": 23, "interval": [22.1, 24], "n": 1000}],
        references=[{"system": "SAT", "dataset": "flickr8k", "split": "test", "metric": "bleu4", "value": 19.5}],
        training={"recipe": "sat", "seed": 1, "hardware": "2 cores", "hours": 3.5},
        example={"command": "condgen caption x.jpg", "expected": "a dog"},
        requires={"plugin": "condgen-caption", "condgen": "0.1"},
    )
    read = parse_manifest(manifest(entry), "zoo.json").entries[0]
    assert read.names == ("sat", "show-attend-tell")
    assert read.decoding == {"beam": 5}
    assert read.files[0].urls[1] == "https://example.org/a.safetensors"
    assert read.results[0].interval == (22.1, 24)


def test_a_newer_schema_says_so() -> None:
    with pytest.raises(IntegrityError, match=f"schema {SCHEMA + 1}, newer") as failure:
        parse_manifest(json.dumps({"schema": SCHEMA + 1, "anything": {}}).encode(), "zoo.json")
    assert "upgrade" in str(failure.value.hint)


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"[]", b"{}", b'{"schema": "1"}', b'{"schema": true}', b'{"schema": 0}', b"[" * 10**5, b"\xff"]
)
def test_what_is_no_manifest(data: bytes) -> None:
    rejected(data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_json_is_refused_in_one_line(entries: Any) -> None:
    if entries != []:
        rejected({"schema": 1, "entries": entries})


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"id": "Not/A/Name"},
        {"id": "../x"},
        {"description": "\x1b[2J hides"},
        {"files": [{"path": "x", "urls": [], "size": 0, "sha256": "0" * 64}]},
        {"files": [file_entry("x", b"", "x") | {"size": -1}]},
        {"files": [file_entry("x", b"", "x") | {"size": "1"}]},
        {"files": [file_entry("x", b"", "x") | {"sha256": "0" * 63}]},
        {"files": [file_entry("x", b"", "x") | {"sha256": "0" * 64 + "\n"}]},
        {"files": [file_entry("x", b"", "x"), file_entry("X", b"", "y")]},
        {"files": [file_entry("x", b"", "x"), file_entry("x/y", b"", "y")]},
        {"card": "../../etc/passwd"},
        {"aliases": ["m"]},
        {"requires": {"condgen": "latest"}},
    ],
    ids=str,
)
def test_what_an_entry_may_not_hold(change: dict[str, Any]) -> None:
    assert "entries" in rejected({"schema": 1, "entries": [model_entry("m") | change]}) or "aliases" in change


def test_names_are_unique() -> None:
    assert "two models named a" in rejected({"schema": 1, "entries": [model_entry("a"), model_entry("b", aliases=["a"])]})


@pytest.mark.parametrize("ending", ["\n", "\r", "\t", "\u2028", "\x85", "\u202e", "\x1b[2J"])
@pytest.mark.parametrize("field", ["description", "licence", "revision", "task"])
def test_a_line_is_one_line(field: str, ending: str) -> None:
    rejected({"schema": 1, "entries": [model_entry("m") | {field: f"a{ending}files: sound"}]})


def test_what_an_example_prints_may_have_lines() -> None:
    example = {"command": "condgen caption x.jpg", "expected": "a dog\n\ta cat\n"}
    read = parse_manifest(manifest(model_entry("m", example=example)), "zoo.json")
    assert read.entries[0].example is not None
    rejected({"schema": 1, "entries": [model_entry("m", example={**example, "command": "a\nb"})]})
    rejected({"schema": 1, "entries": [model_entry("m", example={**example, "expected": "\x1b[2J"})]})


@pytest.mark.parametrize(
    "name",
    ["--index-url http://evil.example/", "-r x", "a b", "a;b", "a==1 b", "$(x)", "a\n", "git+https://x/y", "./x", "a/b", "x-"],
)
def test_what_becomes_a_part_of_a_hint_is_a_name(name: str) -> None:
    rejected({"schema": 1, "entries": [model_entry("m", requires={"plugin": name})]})
    if name != "x-":
        rejected({"schema": 1, "entries": [model_entry("m", architecture={"name": name})]})


@pytest.mark.parametrize("name", ["condgen-caption", "Some_Name2", "a.b", ""])
def test_distributions_may_be_required(name: str) -> None:
    assert parse_manifest(manifest(model_entry("m", requires={"plugin": name})), "zoo.json").entries[0].requires.plugin == name


def test_a_problem_is_told_in_few_words() -> None:
    assert len(rejected({"schema": 1, "entries": [model_entry("m") | {"k" * 10**6: 1}]})) < 500
    assert (
        len(rejected({"schema": 1, "entries": [model_entry("m", {**file_entry("x", b"", "x"), "path": "../" * 10**5})]})) < 500
    )


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([model_entry("m", aliases=[f"a{number}" for number in range(40_000)])], "at most 100 items"),
        ([model_entry(f"m{number}") for number in range(10_001)], "at most 10000 items"),
        ([{"id": str(number)} for number in range(140_000)], "field required"),
        ([{str(number): 1 for number in range(100_000)}], "more than 100 fields"),
        (
            [model_entry(f"m{number}", aliases=[f"a{number}-{alias}" for alias in range(90)]) for number in range(300)],
            "more than 20000 names",
        ),
        ([model_entry("m", *[file_entry("x", b"", "x")] * 2000)], "at most 1000 items"),
        ([model_entry("m", description="x" * 10_000)], "at most 2000 characters"),
    ],
    ids=["aliases", "models", "faults", "unknown", "names", "files", "description"],
)
def test_a_manifest_is_bounded(entries: list[Any], told: str) -> None:
    assert told in rejected({"schema": 1, "entries": entries})


def test_an_alias_that_stands_twice_is_found_among_many() -> None:
    entries = [model_entry(f"m{number}", aliases=[f"a{number}-{alias}" for alias in range(60)]) for number in range(300)]
    assert len(parse_manifest(manifest(*entries), "zoo.json").entries) == 300
    entries[-1]["aliases"][-1] = "a0-0"
    assert "two models named a0-0" in rejected({"schema": 1, "entries": entries})


def test_the_mark_that_editors_put_before_utf_8() -> None:
    assert parse_manifest(b"\xef\xbb\xbf" + manifest(model_entry("m")), "zoo.json").entries[0].id == "m"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\n <!DOCTYPE html><title>Log in</title>", "is a web page, not a manifest"),
        (b"\xef\xbb\xbf<html>", "is a web page, not a manifest"),
        (manifest().decode().encode("utf-16"), "is UTF-16, not UTF-8"),
        (b'{"schema": ' + b"9" * 10**6 + b"}", ""),
        (b'{"schema": 1, "entries": ' + b"[" * 10**6, "is not JSON"),
        (b'{"schema": 1, "entries": ' + b'{"a":' * 10**6, "is not JSON"),
    ],
    ids=["page", "page with a mark", "utf-16", "number", "lists", "objects"],
)
def test_the_reason_is_the_right_one(data: bytes, reason: str) -> None:
    assert reason in rejected(data)


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null", "pipe"])
def test_a_manifest_is_a_file(place: str, tmp_path: Path, capsys: Any) -> None:
    if place == "pipe":
        place = str(tmp_path / "pipe")
        os.mkfifo(place)
    if not Path(place).exists():
        pytest.skip(f"no {place}")
    assert run(["--zoo", place, "list"]) == 3
    assert "it is not a regular file" in capsys.readouterr().err


def test_a_manifest_of_many_bytes_is_not_read(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "manifest.json"
    with path.open("wb") as file:
        file.truncate(1 << 34)  # a hole, which takes no space
    assert run(["--zoo", str(path), "list"]) == 6
    assert "is larger than" in capsys.readouterr().err
