"""Archives read where they lie."""

from __future__ import annotations

import io
import multiprocessing
import pickle
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from condgen_cli.data.archives import Member, Tree, member_name, open_tree
from condgen_cli.errors import IntegrityError, NotFoundError

FILES = {"a.txt": b"first", "folder/b.bin": bytes(range(256)) * 40, "folder/deeper/c": b""}

Writer = Callable[[Path, Mapping[str, bytes]], Path]


def write_folder(path: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("folder")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tar_writer(mode: str) -> Writer:
    def write(path: Path, files: Mapping[str, bytes]) -> Path:
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return path

    return write


def write_link(path: Path, kind: bytes) -> Path:
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = kind, "/etc/passwd"
        archive.addfile(link)
    return path


WRITERS: dict[str, Writer] = {
    "zip": write_zip,
    "tar": tar_writer("w"),
    "tar.gz": tar_writer("w:gz"),
    "tar.xz": tar_writer("w:xz"),
}


@pytest.fixture(params=["folder", *WRITERS])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return open_tree({"folder": write_folder, **WRITERS}[request.param](tmp_path / "archive", FILES))


def test_a_tree_has_its_files_packed_or_not(tree: Tree) -> None:
    assert sorted(tree.names()) == sorted(FILES)
    assert {name: tree.read(name) for name in reversed(tree.names())} == FILES


def test_a_member_is_read_when_opened(tree: Tree) -> None:
    member = Member(tree, "folder/b.bin")
    assert member.open() == FILES["folder/b.bin"]
    assert str(member).endswith("archive/folder/b.bin")


def test_a_missing_member_is_not_found(tree: Tree) -> None:
    with pytest.raises(NotFoundError):
        tree.read("folder/none")


def test_threads_share_a_tree(tree: Tree) -> None:
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(tree.read, list(FILES) * 50))
    assert read == list(FILES.values()) * 50


_inherited: list[Tree] = []


def _read(name: str) -> bytes:
    return _inherited[0].read(name)


def test_processes_open_handles_of_their_own(tree: Tree) -> None:
    """Both ways to get a tree into another process: as a copy, and by inheritance."""
    assert pickle.loads(pickle.dumps(tree)).read("a.txt") == b"first"
    with multiprocessing.get_context("fork").Pool(2, initializer=_inherited.append, initargs=(tree,)) as pool:
        assert pool.map(_read, list(FILES) * 20) == list(FILES.values()) * 20


def test_the_size_of_a_member_is_limited(tmp_path: Path) -> None:
    tree = open_tree(write_zip(tmp_path / "bomb.zip", {"zeros": bytes(1_000_000), "small": b"x"}), max_member=1000)
    assert tree.read("small") == b"x"
    with pytest.raises(IntegrityError, match="1000000 bytes"):
        tree.read("zeros")


def test_nothing_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        open_tree(tmp_path / "none.zip")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["../outside", "folder/../../outside", "/etc/outside", "C:\\outside", "a\\..\\..\\b", "a\nb"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    archive = WRITERS[kind](tmp_path / "archive", {"good": b"", name: b"evil"})
    with pytest.raises(IntegrityError, match="unsafe name"):
        open_tree(archive)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@given(st.text(alphabet="ab./\\: C", min_size=1))
@example(".\\C:")
def test_a_safe_name_stays_below_any_folder(name: str) -> None:
    try:
        safe = member_name(name)
    except IntegrityError:
        return
    base = Path("/base")
    assert (base / safe).resolve().is_relative_to(base)
    assert (base / safe).resolve() != base
    assert member_name(safe) == safe


def test_links_and_devices_are_no_members(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        archive = write_link(tmp_path / "links.tar", kind)
        assert open_tree(archive).names() == ()


def test_a_zip_member_without_a_name_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "nameless.zip", {"x": b"content"})
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")
    directory = bytearray(content[start:])
    directory[28:30] = (0).to_bytes(2, "little")  # the length of the name in the central directory
    directory[30:32] = (1).to_bytes(2, "little")  # whose letter is an extra field now
    path.write_bytes(content[:start] + directory)
    with pytest.raises(IntegrityError) as failure:
        open_tree(path)
    assert str(path) in failure.value.message
    assert "unsafe name ''" in failure.value.message or "damaged" in failure.value.message


def test_a_link_in_a_zip_is_no_member(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert open_tree(tmp_path / "links.zip").names() == ()


def test_a_member_as_text(tmp_path: Path) -> None:
    tree = open_tree(write_zip(tmp_path / "archive.zip", {"a.txt": "\ufeffgrün\n".encode(), "b.txt": b"gr\xfcn"}))
    assert Member(tree, "a.txt").text() == "grün\n"
    with pytest.raises(IntegrityError, match=r"archive\.zip/b\.txt is not UTF-8"):
        Member(tree, "b.txt").text()


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 and no more", b"no archive at all", b"\x1f\x8b\x08broken"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "archive"
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="archive"):
        read_all(path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz"])
@given(data=st.data())
def test_a_damaged_archive_is_never_read_as_a_whole_one(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    """Cut anywhere, or with any byte changed: the files come out as they were, or there is an IntegrityError."""
    path = WRITERS[kind](tmp_path_factory.mktemp("damaged") / "archive", FILES)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[position:]
    else:
        content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        files = read_all(path)
    except (IntegrityError, NotFoundError):
        return
    assert set(files.values()) <= set(FILES.values())


def read_all(path: Path) -> dict[str, bytes]:
    tree = open_tree(path)
    return {name: tree.read(name) for name in tree.names()}
