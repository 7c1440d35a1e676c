"""Sources of manifests: the user's settings, condgen itself, and plugins."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, urlsplit

import condgen_cli
from condgen_cli.errors import CondgenError, IntegrityError, NetworkError, NotFoundError, PluginError, reason_of
from condgen_cli.files.fetch import fetch_bytes
from condgen_cli.files.names import check_contained, protocol_of
from condgen_cli.registry.guard import describe_error
from condgen_cli.settings import Settings, expand_home
from condgen_cli.specs import ManifestSpec, package_file
from condgen_cli.terminal import console
from condgen_cli.zoo.manifest import Entry, File, Manifest, is_web_page, parse_manifest
from condgen_cli.zoo.store import Store

if TYPE_CHECKING:
    from condgen_cli.registry.plugins import Plugins

__all__ = [
    "ANSWER_SECONDS",
    "Origin",
    "Source",
    "UnreadSource",
    "all_sources",
    "bundled_source",
    "local_source",
    "plugin_zoos",
    "remote_source",
]

LARGEST_MANIFEST = 16 * 1024 * 1024
ANSWER_SECONDS = 5.0
"""Time limit for the server of a manifest or a card: these are small, and commands wait for them."""
SEEN_SECONDS = 2.0
"""The same for a manifest of which a copy can be used instead."""

Origin = Literal["user", "bundled", "plugin", "elsewhere"]
"""Who configured a zoo: the user (``--zoo``, ``CONDGEN_ZOO``), condgen itself or a plugin; or models pulled from elsewhere."""


@dataclass(frozen=True)
class Source:
    """A manifest and the base of its relative URLs.

    Args:
        name: ``bundled``, ``NAME (plugin PLUGIN)``, a path or a URL.
        manifest: the manifest.
        base: folder, or URL that ends in a slash.
        origin: who configured it. Only files installed with condgen or a plugin may be links, which installers make.
    """

    name: str
    manifest: Manifest
    base: Path | str
    origin: Origin = "user"

    @cached_property
    def names(self) -> dict[str, Entry]:
        """The models by id and alias."""
        return {name: entry for entry in self.manifest.entries for name in entry.names}

    @property
    def is_installed(self) -> bool:
        """Whether it was installed with condgen or a plugin."""
        return self.origin != "user"

    def place(self, relative: str) -> Path | str:
        """The path or URL of a relative path.

        Raises:
            IntegrityError: if a link leads out of the manifest's folder.
        """
        if isinstance(self.base, str):
            return self.base + quote(relative)
        path = self.base / relative
        return path if self.is_installed else check_contained(path, self.base)

    def places(self, file: File) -> list[Path]:
        """Local paths beside the manifest where the file may be."""
        places = [self.place(url) for url in file.urls if not protocol_of(url)]
        return [place for place in places if isinstance(place, Path)]

    def urls(self, file: File) -> list[str]:
        """URLs from which the file can be downloaded."""
        places = [url if protocol_of(url) else self.place(url) for url in file.urls]
        return [place for place in places if isinstance(place, str)]


@dataclass(frozen=True)
class UnreadSource:
    """A zoo whose manifest has not been read.

    Args:
        name: name of the source.
        origin: who configured it.
        remote: whether reading it needs the network or a copy.
        read: function that reads its source; its argument is True to read it without network.
    """

    name: str
    origin: Origin
    remote: bool
    read: Callable[[bool], Source]


def all_sources(settings: Settings, store: Store) -> list[UnreadSource]:
    """The zoos in order of precedence, unread: the settings', the bundled one, plugins' local ones, plugins' remote ones."""
    from condgen_cli.registry.plugins import manager

    of_user = [_user_source(zoo, settings, store) for zoo in settings.zoos]
    of_condgen = UnreadSource("bundled", "bundled", False, lambda offline: bundled_source())
    of_plugins = [zoo for _, zoo in plugin_zoos(manager(), settings, store)]
    return [*of_user, of_condgen, *sorted(of_plugins, key=lambda zoo: zoo.remote)]


def bundled_source() -> Source:
    """The zoo of condgen itself: in the package if it is installed, or else in the repository."""
    package = Path(condgen_cli.__file__).parent
    for folder in (package / "_zoo", package.parent / "zoo"):
        if (folder / "manifest.json").is_file():
            return local_source(folder, "bundled", "bundled")
    raise NotFoundError("condgen's own manifest is missing", "pip install --force-reinstall condgen")


def local_source(path: Path, name: str = "", origin: Origin = "user") -> Source:
    """Read the zoo of a manifest file, or of a folder with ``manifest.json``.

    Raises:
        NotFoundError: if there is none.
        IntegrityError: if the manifest is too large or malformed.
    """
    try:
        file = path / "manifest.json" if path.is_dir() else path
        if not stat.S_ISREG(file.stat().st_mode):
            raise NotFoundError(f"no manifest at {file}: it is not a regular file")
        with file.open("rb") as opened:
            data = opened.read(LARGEST_MANIFEST + 1)
    except OSError as error:
        raise NotFoundError(f"no manifest at {path}: {reason_of(error).lower()}") from None
    if len(data) > LARGEST_MANIFEST:
        raise IntegrityError(f"manifest {file} is larger than {LARGEST_MANIFEST} bytes")
    return Source(name or str(path), parse_manifest(data, str(file)), file.parent, origin)


def remote_source(url: str, store: Store, offline: bool, name: str = "", origin: Origin = "user") -> Source:
    """Read the zoo at the URL of a manifest, or of its folder with a slash at the end.

    If the server doesn't answer within seconds, or with ``offline``, the copy of an earlier download is used.

    Raises:
        NetworkError: if it can't be downloaded, and there is no copy.
        IntegrityError: if it is malformed, or refers to files on this machine.
        NotFoundError, InputError: if the URL doesn't exist, or the manifest is too large.
    """
    url = f"{url}manifest.json" if url.endswith("/") else url
    data = _read_copy(url, store) if offline else _download(url, store)
    manifest = parse_manifest(data, url)
    _forbid_local_files(manifest, url)
    if not offline:
        store.keep_manifest(url, data)
    return Source(name or url, manifest, url.partition("?")[0].rpartition("/")[0] + "/", origin)


def _download(url: str, store: Store) -> bytes:
    copy = store.last_manifest(url)
    try:
        data = fetch_bytes(url, LARGEST_MANIFEST, SEEN_SECONDS if copy else ANSWER_SECONDS, attempts=1 if copy else 2)
    except NetworkError as error:
        if copy is None:
            raise
        problem = error.message
    else:
        if copy is None or not is_web_page(data):
            return data
        problem = f"{url} is a web page, perhaps the login page of a network"
    console.warn(f"{problem}; using the copy of an earlier download")
    return copy


def _read_copy(url: str, store: Store) -> bytes:
    data = store.last_manifest(url)
    if data is None:
        raise NetworkError(f"{url} is not on this machine, and the network is off", "run it once without --offline")
    return data


def _forbid_local_files(manifest: Manifest, url: str) -> None:
    for entry in manifest.entries:
        for file in entry.all_files:
            if any(protocol_of(address) == "file" for address in file.urls):
                raise IntegrityError(f"manifest {url}: {entry.id} refers to a file on this machine, {file.urls[0]}")


def _user_source(zoo: str, settings: Settings, store: Store) -> UnreadSource:
    if protocol_of(zoo) == "file":
        return UnreadSource(zoo, "user", False, lambda offline: local_source(_path_of(zoo), zoo))
    if protocol_of(zoo):
        return UnreadSource(zoo, "user", True, lambda offline: remote_source(zoo, store, offline or settings.offline))
    return UnreadSource(zoo, "user", False, lambda offline: local_source(expand_home(zoo, "the zoo")))


def plugin_zoos(plugins: Plugins, settings: Settings, store: Store) -> Iterator[tuple[str, UnreadSource]]:
    """The plugins' zoos, as pairs (name of the plugin, zoo)."""
    for name, spec in plugins.manifests.items():
        registered = (one.name for one in plugins.plugins if name in one.registered.get("condgen_register_manifests", ()))
        plugin = next(registered, name)
        yield plugin, _plugin_source(f"{name} (plugin {plugin})", spec, settings, store)


def _plugin_source(name: str, spec: ManifestSpec, settings: Settings, store: Store) -> UnreadSource:
    def read(offline: bool) -> Source:
        try:
            if spec.url:
                return remote_source(spec.url, store, offline or settings.offline, name, "plugin")
            with resources.as_file(package_file(spec.package, spec.file)) as path:
                return local_source(path, name, "plugin")
        except CondgenError:
            raise
        except (Exception, SystemExit) as error:  # importing a package runs it
            raise PluginError(describe_error(error), "condgen plugin doctor") from error

    return UnreadSource(name, "plugin", bool(spec.url), read)


def _path_of(url: str) -> Path:
    from urllib.request import url2pathname  # brings a client for HTTP and parsers of mail

    return Path(url2pathname(urlsplit(url).path))
