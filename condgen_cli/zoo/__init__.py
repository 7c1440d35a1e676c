"""The model zoo: manifests, downloads, the local store, publishing."""

from __future__ import annotations

from condgen_cli.zoo.catalogue import Check, Zoo, open_zoo
from condgen_cli.zoo.manifest import Entry, File, Manifest, parse_manifest

__all__ = ["Check", "Entry", "File", "Manifest", "Zoo", "open_zoo", "parse_manifest"]
