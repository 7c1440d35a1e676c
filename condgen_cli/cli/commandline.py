"""The commands: the core's and the plugins', each imported when it runs, and the options before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pkgutil import resolve_name
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from condgen_cli import __version__, settings
from condgen_cli.errors import PluginError, UsageError
from condgen_cli.registry.core_commands import ALIASES, CORE, SECTIONS
from condgen_cli.registry.guard import guard, told
from condgen_cli.registry.plugin_problems import DOCTOR
from condgen_cli.registry.plugins import manager
from condgen_cli.specs import CommandSpec, TaskSpec, resolve
from condgen_cli.terminal.suggestions import suggestion

__all__ = ["app", "build"]


class Group(TyperGroup):
    """Spares help the import of pydantic, with which typer checks every option that is not a plain False, even None."""

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option


class Commands(Group):
    """The core's commands and the plugins', each built when it is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads ``--zoo VALUE`` itself, for the same reason."""
        flags: list[str] = []
        zoos: list[str] = []
        rest = list(args)
        while rest and rest[0].startswith("-"):
            name, equals, value = rest[0].partition("=")
            option = rest.pop(0)
            if name != "--zoo":
                flags.append(option)
            elif equals or rest:
                zoos.append(value if equals else rest.pop(0))
            else:
                raise UsageError("option --zoo needs a URL or a path", "condgen --help")
        if zoos:
            now = settings.current()
            settings.use(replace(now, zoos=(*zoos, *now.zoos)))
        return super().parse_args(ctx, [*flags, *rest])

    def list_commands(self, ctx: Any) -> list[str]:
        return [*manager().tasks, *CORE, *manager().commands]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None if there is none.

        Raises:
            PluginError: if it belongs to a plugin that is broken.
        """
        if spec := CORE.get(ALIASES.get(cmd_name, cmd_name)):
            target = resolve_name(spec.command)
            return build(spec, target(manager()) if spec.command.endswith(":make") else target)
        plugins = manager()
        if found := plugins.tasks.get(cmd_name) or plugins.commands.get(cmd_name):
            return _plugin_command(found)
        if broken := plugins.broken(cmd_name):
            raise broken
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            _no_such_command(args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        records = [record for param in self.get_params(ctx) if (record := param.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl([(name.replace("--zoo", "--zoo URL|PATH"), text) for name, text in records])
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        plugins = manager()
        sections: dict[str, Sequence[TaskSpec | CommandSpec]] = {"Tasks": [*plugins.tasks.values()], **SECTIONS}
        if plugins.commands:
            sections["From plugins"] = [*plugins.commands.values()]
        width = max(len(name) for name in self.list_commands(ctx))
        for title, specs in sections.items():
            if specs:
                with formatter.section(title):
                    formatter.write_dl([(spec.name.ljust(width), spec.help) for spec in specs])


def build(spec: TaskSpec | CommandSpec, target: Any) -> Any:
    """A command from a function or a ``typer.Typer``, with plain help."""
    wrapper = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    if not isinstance(target, typer.Typer):
        wrapper.command(spec.name)(target)
        return typer.main.get_command(wrapper)
    wrapper.add_typer(target, cls=Group, name=spec.name, help=spec.help)
    return typer.main.get_command(wrapper).get_command(None, spec.name)  # type: ignore[attr-defined]


def _plugin_command(spec: TaskSpec | CommandSpec) -> Any:
    """
    Raises:
        PluginError: if the command can't be imported, or has arguments that can't be made options of a command line.
    """
    try:
        with guard():
            return build(spec, _target(spec))
    except PluginError:
        raise
    except Exception as error:
        reference = spec.command or (spec.inputs if isinstance(spec, TaskSpec) else "")
        raise PluginError(f"the command {spec.name} can't be made of {reference}: {told(error)}", DOCTOR) from error


def _target(spec: TaskSpec | CommandSpec) -> Any:
    """What a plugin's command is for Typer."""
    if spec.command:
        return resolve(spec.command)
    assert isinstance(spec, TaskSpec)
    from condgen_cli.tasks.command import make_command

    return make_command(spec)


def _no_such_command(name: str, known: list[str]) -> NoReturn:
    hint = suggestion(name, known, otherwise="condgen --help")
    if any(problem.fatal for problem in manager().problems):
        hint = f"{hint}; some plugins are broken: {DOCTOR}"
    raise UsageError(f"no command named {name!r}", hint)


def _version(value: bool) -> None:
    if value:
        print(f"condgen {__version__}")
        raise typer.Exit


# commands are looked up before a group's own function runs, and which there are depends on these options: so each takes
# effect as it is read
def _offline(value: bool) -> None:
    if value:
        settings.use(replace(settings.current(), offline=True))


def _no_plugins(value: bool) -> None:
    if value:
        settings.use(replace(settings.current(), plugins=False))


def _debug(value: bool) -> None:
    if value:
        settings.use(replace(settings.current(), debug=True))


def _trust_code(value: bool) -> None:
    if value:
        settings.use(replace(settings.current(), trusts_code=True))


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    subcommand_metavar="COMMAND …",
)


@app.callback()
def condgen(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", callback=_offline, is_eager=True, help="Never use the network.")
    ] = False,
    zoo: Annotated[bool, typer.Option("--zoo", help="A further manifest of models.")] = False,
    no_plugins: Annotated[
        bool, typer.Option("--no-plugins", callback=_no_plugins, is_eager=True, help="Built-in tasks only.")
    ] = False,
    trust_code: Annotated[
        bool,
        typer.Option("--trust-code", callback=_trust_code, is_eager=True, help="Run code that a recipe or a model names."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", callback=_debug, is_eager=True, help="Show tracebacks.")] = False,
) -> None:
    """Conditional generation with RNNs and attention: run, look inside, evaluate and retrain."""
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
