"""Functions for Typer whose parameters are composed at run time, since they depend on what plugins register."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter, signature
from typing import Any

__all__ = ["parameters_of", "with_parameters"]


def parameters_of(function: Callable[..., Any]) -> list[Parameter]:
    """A function's parameters with evaluated annotations.

    Raises:
        NameError: if an annotation refers to an undefined name.
    """
    return list(signature(function, eval_str=True).parameters.values())


def with_parameters(call: Callable[..., None], parameters: Iterable[Parameter], text: str | None) -> Callable[..., None]:
    """A function with the given parameters that calls another one with keyword arguments.

    Args:
        call: the function that is called.
        parameters: the parameters that Typer sees, in the order of the help page.
        text: the docstring, shown on the help page.
    """

    def command(**arguments: Any) -> None:
        call(**arguments)

    own = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in parameters]
    command.__doc__ = text
    command.__signature__ = signature(command).replace(parameters=own)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in own}
    return command
