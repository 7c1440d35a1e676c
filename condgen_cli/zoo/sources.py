"""Where manifests come from: the user's settings, plugins, and the one that ships with condgen."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

import condgen_cli
from condgen_cli import console
from condgen_cli.errors import CondgenError, IntegrityError, NetworkError, NotFoundError
from condgen_cli.guard import told
from condgen_cli.settings import Settings
from condgen_cli.specs import ManifestSpec, package_file
from condgen_cli.zoo.fetch import fetch_bytes
from condgen_cli.zoo.manifest import File, Manifest, parse_manifest
from condgen_cli.zoo.names import contained, protocol_of
from condgen_cli.zoo.store import Store, write_atomically

__all__ = ["Source", "all_sources", "bundled", "local_source", "remote_source"]

LARGEST_MANIFEST = 16 * 1024 * 1024


@dataclass(frozen=True)
class Source:
    """A manifest and what its relative URLs are relative to.

    Args:
        name: ``bundled``, a plugin's name, a path or a URL.
        base: a folder, or a URL that ends in a slash.
        installed: it came with condgen or a plugin, whose installer may have laid it out with links.
    """

    name: str
    manifest: Manifest
    base: Path | str
    installed: bool = False

    def place(self, relative: str) -> Path | str:
        """The path or URL of something beside the manifest.

        Raises:
            IntegrityError: if a link there leads out of the manifest's folder.
        """
        if isinstance(self.base, str):
            return self.base + quote(relative)
        path = self.base / relative
        return path if self.installed else contained(path, self.base)

    def places(self, file: File) -> list[Path]:
        """Where the file may lie on this machine already, beside the manifest."""
        places = [self.place(url) for url in file.urls if not protocol_of(url)]
        return [place for place in places if isinstance(place, Path)]

    def urls(self, file: File) -> list[str]:
        """Where the file can be downloaded from."""
        places = [url if protocol_of(url) else self.place(url) for url in file.urls]
        return [place for place in places if isinstance(place, str)]


def all_sources(settings: Settings, store: Store) -> list[Source]:
    """The settings' zoos, then plugins', then the bundled one.

    Raises:
        NotFoundError, IntegrityError, NetworkError: for the settings' and the bundled one; a plugin's costs a warning.
    """
    named = [_from_settings(zoo, settings, store) for zoo in settings.zoos]
    return [*named, *_from_plugins(settings, store), bundled()]


def bundled() -> Source:
    """The zoo that ships with condgen: in the package when installed, in the repository when that is used in place."""
    package = Path(condgen_cli.__file__).parent
    for folder in (package / "_zoo", package.parent / "zoo"):
        if (folder / "manifest.json").is_file():
            return local_source(folder, "bundled", installed=True)
    raise NotFoundError("condgen's own manifest is missing", "pip install --force-reinstall condgen")


def local_source(path: Path, name: str = "", installed: bool = False) -> Source:
    """The zoo of a manifest file, or of the folder that holds ``manifest.json``."""
    file = path / "manifest.json" if path.is_dir() else path
    try:
        if file.stat().st_size > LARGEST_MANIFEST:
            raise IntegrityError(f"manifest {file} is larger than {LARGEST_MANIFEST} bytes")
        data = file.read_bytes()
    except OSError as error:
        raise NotFoundError(f"no manifest at {file}: {(error.strerror or '').lower()}") from None
    return Source(name or str(path), parse_manifest(data, str(file)), file.parent, installed)


def remote_source(url: str, store: Store, offline: bool, name: str = "") -> Source:
    """The zoo of a manifest's URL, which may end in a slash; without network its last copy is used."""
    url = f"{url}manifest.json" if url.endswith("/") else url
    copy = store.manifest(url)
    data = _copied(url, copy) if offline else _downloaded(url, copy)
    manifest = parse_manifest(data, url)
    _forbid_local_files(manifest, url)
    with suppress(OSError):  # a store that can't be written to still serves what it has
        write_atomically(copy, data)
    return Source(name or url, manifest, url.partition("?")[0].rpartition("/")[0] + "/")


def _downloaded(url: str, copy: Path) -> bytes:
    try:
        return fetch_bytes(url, LARGEST_MANIFEST)
    except NetworkError as error:
        if not copy.is_file():
            raise
        console.warn(f"{error.message}; using the manifest as it was last seen")
        return copy.read_bytes()


def _copied(url: str, copy: Path) -> bytes:
    try:
        return copy.read_bytes()
    except OSError:
        raise NetworkError(f"{url} is not on this machine, and the network is off", "run it once without --offline") from None


def _forbid_local_files(manifest: Manifest, url: str) -> None:
    for entry in manifest.entries:
        for file in entry.files:
            if any(protocol_of(address) == "file" for address in file.urls):
                raise IntegrityError(f"manifest {url}: {entry.id} wants a file of this machine, {file.urls[0]}")


def _from_settings(zoo: str, settings: Settings, store: Store) -> Source:
    if protocol_of(zoo) == "file":
        return local_source(Path(url2pathname(urlsplit(zoo).path)), zoo)
    if protocol_of(zoo):
        return remote_source(zoo, store, settings.offline)
    return local_source(Path(zoo).expanduser())


def _from_plugins(settings: Settings, store: Store) -> list[Source]:
    from condgen_cli.plugins import manager

    sources = []
    for name, spec in manager().manifests.items():
        try:
            sources.append(_from_plugin(spec, settings, store))
        except Exception as error:  # whatever a plugin brings costs itself alone
            reason = error if isinstance(error, CondgenError) else told(error)
            console.warn(f"the zoo {name} of a plugin can't be used: {reason}")
    return sources


def _from_plugin(spec: ManifestSpec, settings: Settings, store: Store) -> Source:
    if spec.url:
        return remote_source(spec.url, store, settings.offline, spec.name)
    with resources.as_file(package_file(spec.package, spec.file)) as path:
        return local_source(path, spec.name, installed=True)
