"""Whether a spec holds what its fields say, so that a wrong one is left out where it is registered and harms nothing later."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from condgen_cli.specs import (
    OPTION_GROUPS,
    CommandSpec,
    ComparisonSpec,
    DatasetSpec,
    InspectorSpec,
    ManifestSpec,
    MetricSpec,
    RecipeSpec,
    TaskSpec,
    references,
)

__all__ = ["MalformedError", "well_formed"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_REQUIRED = ("reader", "build", "open", "run", "file")
_INSPECT = ("device", "format", "help", "inputs", "inspectors", "save-attention", "target")
"""What ``condgen inspect`` has already."""


class MalformedError(Exception):
    """What is wrong with a spec, or with what a hook returned."""


def well_formed(spec: Any) -> Any:
    """The spec with lists in place of tuples made tuples, if each field is of its type and says what it can mean.

    Raises:
        MalformedError: if one isn't or doesn't.
    """
    label = _label(spec)
    if isinstance(spec, TaskSpec) and isinstance(spec.details, Mapping):
        raise MalformedError(f"details of {label} are names since API 2: the model puts their lists into Generation.details")
    spec = _fit_fields(spec, "of", label)
    for name in spec.keys if isinstance(spec, MetricSpec) else (spec.name,):
        if not _NAME.fullmatch(name):
            raise MalformedError(f"{name!r} is not a name")
    if "\n" in getattr(spec, "help", ""):
        raise MalformedError(f"help of {label} is not one line")
    for field in _REQUIRED:
        if getattr(spec, field, "there") == "":
            raise MalformedError(f"{field} of {label} is empty")
    for field, reference in references(spec):
        module, _, attribute = reference.partition(":")
        if not (_MODULE.fullmatch(module) and _MODULE.fullmatch(attribute)):
            raise MalformedError(f"{field} of {label} is not of the form module:attribute: {reference!r}")
    for kind, check in _CHECKS.items():
        if isinstance(spec, kind):
            check(spec, label)
    return spec


def _check_task(spec: TaskSpec, label: str) -> None:
    known = {*OPTION_GROUPS, *(name for group in OPTION_GROUPS.values() for name in group)}
    for name in spec.options:
        if name not in known:
            raise MalformedError(f"options of {label}: there is no option or group {name!r}")
    for name in spec.option_help:
        if name not in spec.option_names:
            raise MalformedError(f"option_help of {label}: it has no option {name!r}")
    for name in ("inputs", "options", "option_help") if spec.command else ():
        if getattr(spec, name):
            raise MalformedError(f"{label} has a command of its own: {name} would do nothing")
    for field, suffixes in (("suffixes", spec.suffixes), ("files", spec.files)):
        for suffix in suffixes:
            if not suffix.startswith(".") or suffix != suffix.lower():
                raise MalformedError(f"{field} of {label}: {suffix!r} does not begin with a dot, or is not in lower case")


def _check_command(spec: CommandSpec, label: str) -> None:
    if not spec.command:
        raise MalformedError(f"command of {label} is empty")


def _check_dataset(spec: DatasetSpec, label: str) -> None:
    if not spec.splits:
        raise MalformedError(f"{label} has no splits")
    for name, option in spec.options.items():
        if name in ("root", "split") or "=" in name or not name:
            raise MalformedError(f"{label}: an option can't be called {name!r}")
        if option.choices and option.default and option.default not in option.choices:
            raise MalformedError(f"{label}: the default of {name} is not one of its choices: {option.default!r}")
    for archive in spec.archives:
        if not archive.urls:
            raise MalformedError(f"{label}: the archive {archive.path!r} has no URL")


def _check_metric(spec: MetricSpec, label: str) -> None:
    if not spec.keys:
        raise MalformedError("a metric has no keys")


def _check_inspector(spec: InspectorSpec, label: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", spec.name) or keyword.iskeyword(spec.name):
        raise MalformedError(f"{label} can't be a flag: use lower-case letters, digits and single hyphens")
    if spec.name in _INSPECT:
        raise MalformedError(f"{label} is an option that inspect has already")


def _check_packaged(spec: RecipeSpec | ComparisonSpec, label: str) -> None:
    if not _MODULE.fullmatch(spec.package):
        raise MalformedError(f"package of {label} is not a package's name: {spec.package!r}")


def _check_manifest(spec: ManifestSpec, label: str) -> None:
    if bool(spec.package) == bool(spec.url):
        raise MalformedError(f"{label} names neither a package nor a URL, or both")
    if spec.url and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", spec.url):
        raise MalformedError(f"url of {label} is no URL: {spec.url!r}")
    if spec.package and not _MODULE.fullmatch(spec.package):
        raise MalformedError(f"package of {label} is not a package's name: {spec.package!r}")


_CHECKS: dict[Any, Callable[[Any, str], None]] = {
    TaskSpec: _check_task,
    CommandSpec: _check_command,
    DatasetSpec: _check_dataset,
    MetricSpec: _check_metric,
    InspectorSpec: _check_inspector,
    RecipeSpec: _check_packaged,
    ComparisonSpec: _check_packaged,
    ManifestSpec: _check_manifest,
}


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _label(spec: Any) -> str:
    if isinstance(spec, MetricSpec):
        return "metric " + (", ".join(map(str, spec.keys)) if isinstance(spec.keys, list | tuple) else repr(spec.keys))
    return repr(spec.name)


def _fit(value: Any, hint: Any, where: str) -> Any:
    """The value, or the tuple that is meant by a list."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        for one in arguments:
            try:
                return _fit(value, one, where)
            except MalformedError:
                continue
        raise _unfit(value, where, " or ".join(map(_kind, arguments)))
    if origin is tuple:
        return _fit_tuple(value, hint, where)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _unfit(value, where, _kind(hint))
        key, kind = arguments
        return {_fit(name, key, f"a key in {where}"): _fit(one, kind, f"{name!r} in {where}") for name, one in value.items()}
    if origin is not None:  # a function
        if not callable(value):
            raise _unfit(value, where, _kind(hint))
        return value
    if hint is Any:
        return value
    if not isinstance(value, (int, float) if hint is float else hint):
        raise _unfit(value, where, _kind(hint))
    return _fit_fields(value, "in", where) if hasattr(hint, "_fields") else value


def _fit_fields(value: Any, of: str, whole: str) -> Any:
    kind: Any = type(value)
    hints = _hints(kind)
    return value._replace(**{name: _fit(getattr(value, name), hint, f"{name} {of} {whole}") for name, hint in hints.items()})


def _fit_tuple(value: Any, hint: Any, where: str) -> Any:
    if not isinstance(value, list | tuple) or hasattr(value, "_fields"):
        comma = f"; write ({value!r},)" if isinstance(value, str) else ""
        raise MalformedError(f"{_unfit(value, where, _kind(hint))}{comma}")
    return tuple(_fit(one, get_args(hint)[0], f"a member of {where}") for one in value)


def _unfit(value: Any, where: str, kind: str) -> MalformedError:
    text = repr(value)
    return MalformedError(f"{where} is not {kind}: {text if len(text) <= 60 else text[:57] + '...'}")


def _kind(hint: Any) -> str:
    """What to call a type in a message."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return f"a tuple, each member {_kind(arguments[0])}"
    if origin is not None:
        return "a mapping" if issubclass(origin, Mapping) else "a function"
    plain = {str: "a string", bool: "True or False", int: "a whole number", float: "a number"}
    return plain.get(hint) or f"of the class {hint.__name__}"
