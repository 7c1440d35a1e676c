"""Downloads over a real, misbehaving server: whatever happens, the destination is the whole right file or not there."""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import shutil
import socket
import ssl
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from condgen_cli.errors import CondgenError, InputError, IntegrityError, NetworkError, NotFoundError
from condgen_cli.files.fetch import ATTEMPTS, fetch, fetch_bytes
from tests.zoo.conftest import (
    Behaviour,
    Server,
    answering,
    ignoring_range,
    ranged,
    redirecting,
    truncated,
    unannounced,
    wrong_range,
)

CONTENT = bytes(range(256)) * 4000
HASH = hashlib.sha256(CONTENT).hexdigest()
KNOWN: dict[str, Any] = {"size": len(CONTENT), "sha256": HASH}
PATH = "/file"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file.bin"


@pytest.fixture
def url(server: Server) -> str:
    server.files[PATH] = CONTENT
    return server.url(PATH)


def partial(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def start(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True)
    partial(target).write_bytes(content)


def assert_whole(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert not partial(target).exists()


def test_downloads_to_the_destination(url: str, target: Path) -> None:
    assert fetch(url, target, **KNOWN) == target
    assert_whole(target)


def test_a_file_that_is_there_is_not_asked_for(server: Server, url: str, target: Path) -> None:
    fetch(url, target, **KNOWN)
    fetch(url, target, **KNOWN)
    assert len(server.requests) == 1


def test_a_damaged_file_at_the_destination_is_replaced(url: str, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT[:-1] + b"?")
    fetch(url, target, **KNOWN)
    assert_whole(target)


def test_an_md5_is_checked_too(url: str, target: Path) -> None:
    fetch(url, target, md5=hashlib.md5(CONTENT).hexdigest())
    assert_whole(target)
    with pytest.raises(IntegrityError, match="md5"):
        fetch(url, target.with_name("other"), md5="0" * 32)


def test_resumes_a_partial_file(server: Server, url: str, target: Path) -> None:
    start(target, CONTENT[:1000])
    fetch(url, target, **KNOWN)
    assert_whole(target)
    assert server.ranges(PATH) == ["bytes=1000-"]


@pytest.mark.parametrize("behaviour", [ignoring_range, wrong_range], ids=lambda behaviour: behaviour.__name__)
def test_a_server_that_knows_no_ranges_starts_over(server: Server, url: str, target: Path, behaviour: Behaviour) -> None:
    server.behaviours[PATH] = behaviour
    start(target, CONTENT[:1000])
    fetch(url, target, **KNOWN)
    assert_whole(target)


def test_a_partial_file_of_something_else_is_dropped(server: Server, url: str, target: Path) -> None:
    start(target, b"another revision")
    fetch(url, target, **KNOWN)
    assert_whole(target)
    assert server.ranges(PATH) == ["bytes=16-", None]


@pytest.mark.parametrize("extra", [b"", b"more than the file has"])
def test_a_partial_file_as_long_as_the_file_or_longer(url: str, target: Path, extra: bytes) -> None:
    start(target, b"x" * len(CONTENT) + extra)
    fetch(url, target, **KNOWN)
    assert_whole(target)


def test_a_range_beyond_the_end_starts_over(server: Server, url: str, target: Path) -> None:
    start(target, b"x" * (len(CONTENT) + 5))
    fetch(url, target, sha256=HASH)
    assert_whole(target)


def test_without_a_hash_an_old_partial_file_is_not_trusted(server: Server, url: str, target: Path) -> None:
    start(target, b"who knows of what")
    fetch(url, target)
    assert_whole(target)
    assert server.ranges(PATH) == [None]


def test_a_truncated_body_is_completed(server: Server, url: str, target: Path, waits: list[float]) -> None:
    server.behaviours[PATH] = truncated(600_000)
    fetch(url, target, **KNOWN)
    assert_whole(target)
    first, second = server.ranges(PATH)
    assert first is None
    assert second
    assert second != "bytes=0-"
    assert len(waits) == 1


def test_a_truncated_body_without_a_hash_is_completed_if_the_file_is_still_the_same(
    server: Server, url: str, target: Path, waits: list[float]
) -> None:
    broken = truncated(600_000)

    def changing(handler: Any, content: bytes) -> None:
        broken(handler, content)
        server.files[PATH] = CONTENT[::-1]

    server.behaviours[PATH] = changing
    fetch(url, target)
    assert target.read_bytes() == CONTENT[::-1]


def test_a_body_that_stays_truncated_fails_and_is_kept_for_later(
    server: Server, url: str, target: Path, waits: list[float]
) -> None:
    server.behaviours[PATH] = lambda handler, content: handler.respond(200, content[:-1000], Content_Length=str(len(content)))
    with pytest.raises(NetworkError, match=f"{ATTEMPTS} attempts"):
        fetch(url, target, **KNOWN)
    assert not target.exists()
    arrived = partial(target).read_bytes()
    assert arrived
    assert CONTENT.startswith(arrived)
    assert waits == sorted(waits)
    server.behaviours[PATH] = ranged
    fetch(url, target, **KNOWN)
    assert_whole(target)
    assert server.ranges(PATH)[-1] == f"bytes={len(arrived)}-"


def test_a_truncated_body_of_unannounced_length(server: Server, url: str, target: Path, waits: list[float]) -> None:
    server.behaviours[PATH] = lambda handler, content: unannounced(handler, content[:10])
    with pytest.raises(NetworkError, match=f"closed after 10 of {len(CONTENT)} bytes"):
        fetch(url, target, **KNOWN)
    assert not target.exists()


def test_wrong_content(server: Server, url: str, target: Path) -> None:
    server.files[PATH] = CONTENT[::-1]
    with pytest.raises(IntegrityError, match="sha256"):
        fetch(url, target, **KNOWN)
    assert not target.exists()
    assert not partial(target).exists()


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!"], ids=["shorter", "longer"])
def test_wrong_announced_size(server: Server, url: str, target: Path, content: bytes) -> None:
    server.files[PATH] = content
    with pytest.raises(IntegrityError, match=f"{len(content)} bytes instead of {len(CONTENT)}"):
        fetch(url, target, **KNOWN)
    assert not target.exists()


def test_more_bytes_than_expected_and_none_announced(server: Server, url: str, target: Path) -> None:
    server.files[PATH] = CONTENT * 3
    server.behaviours[PATH] = unannounced
    with pytest.raises(IntegrityError, match="more than the expected"):
        fetch(url, target, **KNOWN)
    assert not target.exists()
    assert not partial(target).exists()


@pytest.mark.parametrize("behaviour", [ranged, unannounced], ids=["announced", "unannounced"])
def test_size_limit(server: Server, url: str, target: Path, behaviour: Behaviour) -> None:
    server.behaviours[PATH] = behaviour
    with pytest.raises(InputError, match=r"larger than 1\.0 kB"):
        fetch(url, target, limit=1000)
    assert not target.exists()
    assert not partial(target).exists()
    with pytest.raises(InputError, match=r"larger than 1\.0 kB"):
        fetch_bytes(url, 1000)


def test_into_memory(server: Server, url: str, waits: list[float]) -> None:
    server.behaviours[PATH] = truncated(77)
    assert fetch_bytes(url, len(CONTENT)) == CONTENT


def test_redirects_are_followed(server: Server, url: str, target: Path) -> None:
    server.behaviours["/old"] = redirecting("/older")
    server.behaviours["/older"] = redirecting(url)
    start(target, CONTENT[:10])
    fetch(server.url("/old"), target, **KNOWN)
    assert_whole(target)
    assert server.ranges(PATH) == ["bytes=10-"]


def test_redirects_in_circles(server: Server, target: Path) -> None:
    server.behaviours["/loop"] = redirecting("/loop")
    with pytest.raises(NetworkError, match="circles"):
        fetch(server.url("/loop"), target)


def test_404_is_not_tried_again(server: Server, target: Path, waits: list[float]) -> None:
    with pytest.raises(NotFoundError, match="/missing does not exist"):
        fetch(server.url("/missing"), target)
    assert len(server.requests) == 1


def test_403_is_a_network_error(server: Server, url: str, target: Path, waits: list[float]) -> None:
    server.behaviours[PATH] = answering(403)
    with pytest.raises(NetworkError, match="403"):
        fetch(url, target)
    assert len(server.requests) == 1


def test_503_is_tried_again(server: Server, url: str, target: Path, waits: list[float]) -> None:
    server.behaviours[PATH] = answering(503, times=2, Retry_After="3")
    fetch(url, target, **KNOWN)
    assert_whole(target)
    assert waits == [3, 3]


def test_503_is_not_tried_for_ever(server: Server, url: str, target: Path, waits: list[float]) -> None:
    server.behaviours[PATH] = answering(503)
    with pytest.raises(NetworkError, match="503"):
        fetch(url, target)
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize("moment", ["86400", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_an_unreasonable_retry_after_is_not_waited_for(
    server: Server, url: str, target: Path, waits: list[float], moment: str
) -> None:
    server.behaviours[PATH] = answering(503, Retry_After=moment)
    with pytest.raises(NetworkError, match="asks to wait"):
        fetch(url, target)
    assert waits == []


@pytest.mark.parametrize("moment", ["soon", "-5", "", "²"])
def test_a_malformed_retry_after(server: Server, url: str, target: Path, waits: list[float], moment: str) -> None:
    server.behaviours[PATH] = lambda handler, content: (
        handler.respond(503, b"", Retry_After=moment.encode("utf-8").decode("latin-1"))
        if len(server.requests) == 1
        else ranged(handler, content)
    )
    fetch(url, target, **KNOWN)
    assert_whole(target)


def test_several_urls_are_tried_in_turn(server: Server, url: str, target: Path, waits: list[float]) -> None:
    server.files["/wrong"] = b"something else"
    server.behaviours["/busy"] = answering(503)
    urls = [server.url("/missing"), server.url("/wrong"), server.url("/busy"), url]
    fetch(urls, target, **KNOWN)
    assert_whole(target)


def test_the_gravest_failure_of_several_is_told(server: Server, target: Path) -> None:
    server.files["/wrong"] = b"something else"
    with pytest.raises(IntegrityError, match="1 more failed"):
        fetch([server.url("/missing"), server.url("/wrong")], target, **KNOWN)


def test_nobody_listens(target: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(NetworkError, match=r"cannot connect to 127\.0\.0\.1"):
            fetch(f"http://127.0.0.1:{port}/file", target)


def test_no_such_host(target: Path) -> None:
    with pytest.raises(NetworkError, match=r"cannot connect to nowhere\.invalid"):
        fetch("http://nowhere.invalid/file", target)


def test_an_encoded_body_stays_as_it_is(server: Server, url: str, target: Path) -> None:
    # a server that calls a .tar.gz an encoding of a .tar
    server.behaviours[PATH] = lambda handler, content: handler.respond(200, content, Content_Encoding="gzip")
    fetch(url, target, **KNOWN)
    assert_whole(target)


@pytest.mark.usefixtures("offline")
def test_offline_asks_nobody(server: Server, url: str, target: Path) -> None:
    with pytest.raises(NetworkError, match="network is off"):
        fetch(url, target, **KNOWN)
    with pytest.raises(NetworkError, match="network is off"):
        fetch_bytes(url, 100)
    assert server.requests == []


@pytest.mark.usefixtures("offline")
def test_files_of_this_machine_need_no_network(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    start(target, CONTENT[:300])
    fetch(source.as_uri(), target, **KNOWN)
    assert_whole(target)


def test_a_missing_file_of_this_machine(tmp_path: Path, target: Path) -> None:
    with pytest.raises(NotFoundError):
        fetch((tmp_path / "none").as_uri(), target)


@pytest.mark.parametrize(
    "address",
    [
        "reference://x",
        "simplecache::http://x/y",
        "zip://a::http://x/b.zip",
        "no-url",
        "c:\\x",
        "http://[::1",
        "http:///x",
        "http://h:99999/x",
    ],
)
def test_addresses_that_are_not_plain_urls(address: str, target: Path) -> None:
    with pytest.raises(InputError):
        fetch(address, target)


def test_a_file_of_this_machine_whose_name_has_blanks(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "a b%20ü"
    source.write_bytes(CONTENT)
    fetch(source.as_uri(), target, **KNOWN)
    assert_whole(target)


def test_a_url_of_the_hub(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url("/"))
    server.files["/org/repo/resolve/main/a/b.bin"] = CONTENT
    server.files["/datasets/org/repo/resolve/v1/c"] = CONTENT[::-1]
    fetch("hf://org/repo/a/b.bin", target, **KNOWN)
    assert_whole(target)
    assert fetch_bytes("hf://datasets/org/repo@v1/c", len(CONTENT)) == CONTENT[::-1]
    with pytest.raises(NotFoundError, match="hf://org/repo/none does not exist"):
        fetch("hf://org/repo/none", target)
    with pytest.raises(InputError, match="hf://org is not a URL of the Hugging Face Hub"):
        fetch("hf://org", target)


def test_user_and_password_of_a_url(server: Server, url: str) -> None:
    seen: list[str | None] = []

    def behave(handler: Any, content: bytes) -> None:
        seen.append(handler.headers.get("Authorization"))
        ranged(handler, content)

    server.behaviours[PATH] = behave
    server.behaviours["/old"] = redirecting(url)
    assert fetch_bytes(url.replace("//", "//me:s%40@"), len(CONTENT)) == CONTENT
    assert fetch_bytes(server.url("/old").replace("//", "//me:s%40@"), len(CONTENT)) == CONTENT
    assert seen == [f"Basic {base64.b64encode(b'me:s@').decode()}", None]  # who is redirected to is told nothing


def test_a_server_that_sends_drops_is_not_listened_to_for_ever(server: Server, url: str) -> None:
    def behave(handler: Any, content: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            while not server.release.wait(0.05):
                handler.wfile.write(b"x")
                handler.wfile.flush()

    server.behaviours[PATH] = behave
    with pytest.raises(NetworkError, match="does not answer in time"):
        fetch_bytes(url, 10**6, seconds=0.3)


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl")
def test_a_certificate_that_is_not_trusted_is_named(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", certificate]
    subprocess.run(["openssl", "req", "-x509", "-days", "2", *made, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.files[PATH] = CONTENT
    url = server.url(PATH).replace("http://127.0.0.1", "https://localhost")
    with pytest.raises(NetworkError, match="localhost has no certificate that this machine trusts: self-signed certificate"):
        fetch_bytes(url, len(CONTENT))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch_bytes(url, len(CONTENT)) == CONTENT


def test_a_full_disk_is_noticed_before_anything_is_written(url: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = type("Usage", (), {"free": len(CONTENT) - 1})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(CondgenError, match=r"disk of .* is full") as failure:
        fetch(url, target, **KNOWN)
    assert failure.value.exit_code == 1
    assert not target.exists()


def test_a_disk_that_fills_up_keeps_what_arrived(
    server: Server, url: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def filling(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = opened(path, mode, *args, **kwargs)
        if path.suffix == ".part" and mode in ("wb", "ab"):
            return Filling(file)
        return file

    class Filling:
        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, data: bytes) -> int:
            if self.file.tell() > 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(data)

        def __enter__(self) -> Filling:
            return self

        def __exit__(self, *args: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", filling)
        with pytest.raises(CondgenError, match="full"):
            fetch(url, target, **KNOWN)
    assert not target.exists()
    arrived = partial(target).stat().st_size
    assert 0 < arrived < len(CONTENT)
    fetch(url, target, **KNOWN)
    assert_whole(target)
    assert server.ranges(PATH)[-1] == f"bytes={arrived}-"


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
def test_the_kernel_refuses_a_write(url: str, target: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from condgen_cli.errors import CondgenError; from condgen_cli.files.fetch import fetch\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))\n"
        "try: fetch(sys.argv[1], Path(sys.argv[2]))\n"
        "except CondgenError as error: sys.exit(error.message)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, url, str(target)], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "larger than the file system allows" in result.stderr
    assert "Traceback" not in result.stderr
    assert not target.exists()


def test_a_folder_that_cannot_be_made(url: str, tmp_path: Path) -> None:
    obstacle = tmp_path / "obstacle"
    obstacle.write_text("a file where a folder should be")
    with pytest.raises(CondgenError, match="cannot write to") as failure:
        fetch(url, obstacle / "folder" / "file", **KNOWN)
    assert "CONDGEN_HOME" in str(failure.value.hint)
    assert "\n" not in failure.value.message


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_a_folder_that_cannot_be_written_to(url: str) -> None:
    with pytest.raises(CondgenError, match="cannot write to"):
        fetch(url, Path("/proc/self/file"), **KNOWN)


def test_a_partial_file_that_is_a_link_is_refused(url: str, target: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    target.parent.mkdir()
    partial(target).symlink_to(victim)
    with pytest.raises(IntegrityError, match="link"):
        fetch(url, target, **KNOWN)
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("scheme", ["file", "ftp", "s3", "data"])
def test_a_redirect_to_another_protocol_is_not_followed(
    server: Server, target: Path, tmp_path: Path, waits: list[float], scheme: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    address = f"{scheme}://{tmp_path}/secret"
    server.behaviours["/old"] = redirecting(address)
    with pytest.raises(NetworkError, match=f"redirects to {scheme}:.* is not followed"):
        fetch(server.url("/old"), target)
    assert len(server.requests) == 1
    assert not target.exists()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("x-gzip", gzip.compress), ("gzip", lambda content: content)],
    ids=["gzip", "deflate", "x-gzip", "not packed"],
)
def test_what_the_server_packs_unasked_is_unpacked_in_memory(server: Server, encoding: str, pack: Any) -> None:
    server.files[PATH] = pack(CONTENT)
    server.behaviours[PATH] = lambda handler, content: handler.respond(200, content, Content_Encoding=encoding)
    assert fetch_bytes(server.url(PATH), len(CONTENT)) == CONTENT


def test_what_unpacks_to_too_much_or_to_nothing_known(server: Server, waits: list[float]) -> None:
    server.files["/bomb"] = gzip.compress(bytes(10**7))
    server.files["/cut"] = gzip.compress(CONTENT)[:-20]
    for path in ("/bomb", "/cut"):
        server.behaviours[path] = lambda handler, content: handler.respond(200, content, Content_Encoding="gzip")
    server.behaviours["/other"] = lambda handler, content: handler.respond(200, content, Content_Encoding="br")
    with pytest.raises(InputError, match="larger than"):
        fetch_bytes(server.url("/bomb"), 10**6)
    with pytest.raises(NetworkError, match="data end too early"):
        fetch_bytes(server.url("/cut"), 10**8)
    with pytest.raises(NetworkError, match="compressed as br, which was not requested"):
        fetch_bytes(server.url("/other"), 10**6)


def test_a_file_that_comes_packed_is_told(server: Server, target: Path) -> None:
    server.files[PATH] = gzip.compress(CONTENT)
    server.behaviours[PATH] = lambda handler, content: handler.respond(200, content, Content_Encoding="gzip")
    with pytest.raises(IntegrityError, match="compressed as gzip, which was not requested"):
        fetch(server.url(PATH), target, **KNOWN)
    assert not target.exists()


@pytest.mark.parametrize("first", ["s3://bucket/key", "gs://bucket/key", "sftp://host/key", "ftp://host/key", "az://a/b"])
def test_a_protocol_that_condgen_does_not_read_does_not_end_the_list(url: str, target: Path, first: str) -> None:
    fetch([first, url], target, **KNOWN)
    assert_whole(target)
    with pytest.raises(InputError, match=f"cannot open {first}"):
        fetch([first, first], target.with_name("other"), **KNOWN)
