"""A server on loopback that speaks the protocol of the Hugging Face Hub as far as huggingface_hub uses it here."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub(ThreadingHTTPServer):
    """Repositories by name, each a list of commits: contents by path. Large files are redirected, as the Hub does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def revision(self, name: str, revision: str) -> dict[str, bytes] | None:
        """The files of ``main`` or of a commit."""
        for commit in self.commits.get(name, [])[::-1]:
            if revision in ("main", sha_of(commit)):
                return commit
        return None


def sha_of(commit: dict[str, bytes]) -> str:
    return hashlib.sha1(
        repr(sorted((name, hashlib.sha1(data).hexdigest()) for name, data in commit.items())).encode()
    ).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._read(body=True)

    def do_HEAD(self) -> None:
        self._read(body=False)

    def _read(self, body: bool) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            commit = self.server.revision(match[1], match[2] or "main")
            if commit is None:
                known = match[1] in self.server.commits
                return self._error("RevisionNotFound" if known else "RepoNotFound")
            siblings = [{"rfilename": name} for name in commit]
            return self._json({"id": match[1], "modelId": match[1], "sha": sha_of(commit), "siblings": siblings, "tags": []})
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            commit = self.server.revision(match[1], match[2])
            if commit is None or match[3] not in commit:
                return self._error("EntryNotFound")
            data = commit[match[3]]
            etag = hashlib.sha256(data).hexdigest()
            headers = {"X-Repo-Commit": sha_of(commit), "ETag": f'"{etag}"'}
            if match[3].endswith(".safetensors"):
                self.server.large[etag] = data
                place = f"http://localhost:{self.server.server_address[1]}/large/{etag}"  # another host, as the Hub's
                headers |= {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": str(len(data)), "Location": place}
                return self._send(302, b"", headers, body)
            return self._send(200, data, headers, body)
        if match := re.fullmatch(r"/large/(\w+)", path):
            return self._send(200, self.server.large[match[1]], {"ETag": f'"{match[1]}"'}, body)
        return self._error("EntryNotFound")

    def do_POST(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != "Bearer hf_secret" and not self.path.startswith("/api/validate"):
            return self._error("GatedRepo", 401)
        if self.path == "/api/repos/create":
            wanted = json.loads(data)
            name = f"{wanted['organization']}/{wanted['name']}"
            self.server.commits.setdefault(name, [{".gitattributes": b""}])
            return self._json({"url": f"{self.server.url}/{name}"})
        if re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/main", self.path):
            files = json.loads(data)["files"]
            modes = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular"}
                for one in files
            ]
            return self._json({"files": [{**one, "shouldIgnore": False} for one in modes]})
        if self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(data)["objects"]
            action = [{**one, "actions": {"upload": {"href": f"{self.server.url}/large/{one['oid']}"}}} for one in objects]
            return self._json({"transfer": "basic", "objects": action}, "application/vnd.git-lfs+json")
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", self.path.partition("?")[0]):
            commit = dict(self.server.commits[match[1]][-1])
            for line in data.splitlines():
                part = json.loads(line)
                if part["key"] == "file":
                    commit[part["value"]["path"]] = base64.b64decode(part["value"]["content"])
                elif part["key"] == "lfsFile":
                    commit[part["value"]["path"]] = self.server.large[part["value"]["oid"]]
            self.server.commits[match[1]].append(commit)
            return self._json(
                {"commitUrl": f"{self.server.url}/{match[1]}/commit/{sha_of(commit)}", "commitOid": sha_of(commit)}
            )
        return self._json({"errors": [], "warnings": []})

    def do_PUT(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.large[hashlib.sha256(data).hexdigest()] = data
        self._send(200, b"", {}, True)

    def _json(self, document: Any, kind: str = "application/json") -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": kind}, True)

    def _error(self, code: str, status: int = 404) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code}, True)

    def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)
