"""A task's command as it runs: its inputs go through a model one after another, and the exit code says what became of them.

Only light modules are imported here, since ``condgen TASK --help`` reaches this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING

from condgen_cli.errors import CondgenError, UsageError
from condgen_cli.files.sources import Failure
from condgen_cli.inputs.expansion import Inputs
from condgen_cli.inputs.lines import Texts
from condgen_cli.registry.plugins import manager
from condgen_cli.specs import named
from condgen_cli.tasks.delivery import Delivery
from condgen_cli.tasks.options import TaskOptions, check_options, check_outputs, complete
from condgen_cli.tasks.session import Session, load_model
from condgen_cli.terminal import console

if TYPE_CHECKING:
    from condgen_cli.inputs.lines import Text
    from condgen_cli.item import Item
    from condgen_cli.running.runner import Result

__all__ = ["Job", "TaskOptions", "load_model", "run_task"]

SOME_FAILED = 4


@dataclass(frozen=True)
class Job:
    """What a command is to do, as the function of ``TaskSpec.inputs`` returns it.

    Args:
        inputs: the paths that ``expansion.expand`` finds, or texts.
        options: the command's options, with whatever the task sets itself.
        choose: the name of the model for an item, where neither the user nor the task names one.
    """

    inputs: Inputs | Texts
    options: TaskOptions
    choose: Callable[[Item], str] | None = None


def run_task(
    task: str,
    inputs: Iterable[str | Failure] | Texts,
    options: TaskOptions,
    choose: Callable[[Item], str] | None = None,
) -> int:
    """Run a task's model over inputs and print a result for each, in order.

    Args:
        task: its name.
        inputs: what the task's reader takes: the paths that ``expansion.expand`` finds, or ``lines.text_inputs``. A text gives
            a line for itself, an empty one if it fails.
        options: what the user wants of it.
        choose: the name of the model for an item, for tasks whose inputs are of several kinds; None: always ``options.model``.
    Returns:
        the exit code: 0; 4 if some inputs failed; if all failed, the first error's own.
    Raises:
        UsageError: before any work, if options contradict one another.
        CondgenError: if the model can't be had.
    """
    spec = named(manager().tasks, "task", task)
    options = complete(spec, options)
    if isinstance(inputs, Texts):
        check_options(spec, options, inputs.several)
        check_outputs(options, ())
        return _run(Session(spec, options, inputs.live), inputs, inputs.several, texts=True)
    found = inputs if isinstance(inputs, Inputs) else Inputs(iter(inputs), ())
    entries, several = _peek(found)
    check_options(spec, options, several)
    check_outputs(options, found.files)
    code = _run(Session(spec, options, found.live, choose), entries, several, texts=False, count=found.count)
    found.warn_of_left_out()
    return code


def _run(
    session: Session,
    inputs: Iterable[str | Text | Item | Failure],
    several: bool,
    texts: bool,
    count: int | None = None,
) -> int:
    """Results as they come, and the exit code.

    Args:
        several: whether there may be more than one input.
        texts: whether they are texts.
        count: how many inputs there are; None if that isn't known.
    """
    from condgen_cli.running.runner import group_by_input

    delivery = Delivery(session, several, texts)
    first_error: CondgenError | None = None
    done = 0
    with delivery.open() as destination, delivery.progress(count) as advance, delivery.progress_within() as show:
        for parts in group_by_input(session.results(inputs)):
            errors = delivery.write(destination, _show_progress(parts, show))
            for error in {error.message: error for error in errors}.values():  # only now, when the line has ended
                console.fail(error)
            first_error = first_error or (errors[0] if errors else None)
            done += not errors
            advance(1)
        destination.close(bool(done) or first_error is None)
    if first_error is None:
        return 0
    return SOME_FAILED if done else first_error.exit_code


def _show_progress(parts: Iterable[Result], show: Callable[[float | None, float | None], None]) -> Iterator[Result]:
    """The parts of an input, while it is shown how far it is, if its reader tells times."""
    for result in parts:
        yield result
        if result.item is not None and result.item.parts > 1 and "end" in result.item.meta:
            show(result.item.meta["end"], result.item.meta.get("duration"))
    show(None, None)


def _peek(inputs: Iterable[str | Failure]) -> tuple[Iterator[str | Failure], bool]:
    """The inputs, and whether there are several."""
    iterator = iter(inputs)
    first = list(islice(iterator, 2))
    if not first:
        raise UsageError("no input")
    return chain(first, iterator), len(first) > 1
