"""The commands of the core, listed here so that `condgen --help` imports none of them."""

from __future__ import annotations

from condgen_cli.specs import CommandSpec

__all__ = ["ALIASES", "CORE", "SECTIONS"]

SECTIONS: dict[str, tuple[CommandSpec, ...]] = {
    "Models": (
        CommandSpec("list", "The models of the zoo.", "condgen_cli.cli.commands.zoo:list_models"),
        CommandSpec("show", "A model's card: training, licence, results.", "condgen_cli.cli.commands.zoo:show"),
        CommandSpec(
            "inspect", "A model's architecture, or its attention for an input.", "condgen_cli.cli.commands.inspect:make"
        ),
        CommandSpec("pull", "Download models, verified.", "condgen_cli.cli.commands.zoo:pull"),
        CommandSpec("verify", "Check stored models against the manifest.", "condgen_cli.cli.commands.zoo:verify"),
        CommandSpec("export", "Write a model as ONNX, for use anywhere.", "condgen_cli.cli.commands.export:export"),
        CommandSpec("rm", "Remove downloaded models.", "condgen_cli.cli.commands.zoo:rm"),
    ),
    "Evaluation": (
        CommandSpec(
            "eval", "Score models on a data set, beside published results.", "condgen_cli.cli.commands.evaluate:evaluate"
        ),
        CommandSpec("score", "Score any system's output, a line per item.", "condgen_cli.cli.commands.score:score"),
    ),
    "Training": (
        CommandSpec("train", "Train a model from a recipe.", "condgen_cli.cli.commands.train:train"),
        CommandSpec("recipe", "Recipes: ls, show, copy, check.", "condgen_cli.cli.commands.recipe:app"),
        CommandSpec("comparison", "Controlled comparisons: ls, show, run.", "condgen_cli.cli.commands.comparison:app"),
        CommandSpec("data", "Data sets: ls, pull, show.", "condgen_cli.cli.commands.data:app"),
    ),
    "Plugins": (
        CommandSpec("plugin", "Plugins: list, doctor, new, install, uninstall.", "condgen_cli.cli.commands.plugin:app"),
    ),
}
"""Sections of the help page, in order. A reference to ``make`` is called with the plugins and returns the command."""

CORE: dict[str, CommandSpec] = {command.name: command for section in SECTIONS.values() for command in section}

ALIASES = {"experiment": "comparison"}
"""Former names of commands, which still work."""
