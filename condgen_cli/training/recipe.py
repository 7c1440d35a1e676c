"""The settings of a recipe by section, and their validation."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from condgen_cli.data.store import option_text
from condgen_cli.errors import UsageError
from condgen_cli.files.validation import plain_message
from condgen_cli.terminal.suggestions import suggestion

if TYPE_CHECKING:
    from condgen_cli.running.decoding import Decoding

__all__ = ["NAME", "Data", "Model", "Recipe", "Training", "check", "check_known"]

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Pattern of a recipe's name, which is also the name of its run's folder."""

Checked = TypeVar("Checked", bound=BaseModel)


class _Section(BaseModel):
    """A section with fixed keys: unknown keys and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _OpenSection(BaseModel):
    """A section whose other keys belong to a plugin, which validates them with ``check``."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the plugin."""
        return dict(self.model_extra or {})


class Model(_OpenSection):
    """``[model]``: an architecture and its options."""

    architecture: str


class Data(_OpenSection):
    """``[data]``: a data set, and further settings of the architecture's plugin.

    ``options`` are those of the data set, as ``--set`` gives them: strings, even if a number or a list is written.
    """

    dataset: str

    @model_validator(mode="before")
    @classmethod
    def _texts(cls, values: Any) -> Any:
        options = values.get("options") if isinstance(values, dict) else None
        if not isinstance(options, dict):
            return values
        return {**values, "options": {name: option_text(value) for name, value in options.items() if value is not None}}


class Training(_Section):
    """``[training]``: settings of the training loop.

    Args:
        epochs: number of passes over the training data.
        batch_size: number of items in a batch on one process.
        accumulate: number of batches whose gradients are accumulated in one step. If the number of processes divides it, they
            share these batches; otherwise each process accumulates this many.
        optimizer: optimizer; ``momentum`` applies to SGD and RMSprop, ``betas`` to AdamW.
        lr: highest learning rate. ``lr_multipliers`` scales it for parameters whose names start with a prefix; the longest
            prefix applies, and 0 freezes the parameters.
        clip: maximum norm of the gradient; 0: no clipping.
        schedule: schedule of the learning rate. ``cosine`` and ``linear`` fall to ``floor`` (a share of ``lr``) over all
            epochs; ``plateau`` multiplies by ``plateau_factor`` after ``plateau_patience`` evaluations without improvement,
            down to ``floor``. During the first ``warmup`` steps the rate rises linearly.
        metric: dev metric that selects the model; ``mode`` says whether it is maximised or minimised.
        patience: number of evaluations without improvement after which training stops; 0: never.
        average: weights that are evaluated and exported: the latest (``none``), an exponential moving average with
            ``average_decay`` (``ema``), or the mean over the last N evaluations (``last-N``).
        evaluate_every: number of steps between evaluations; 0: one at the end of each epoch. The end of training is always
            evaluated.
        checkpoint_every: number of steps between checkpoints, beside the one after each evaluation; 0: no others.
        log_every: number of steps between records of the log.
        precision: precision of the forward pass; half precision needs a GPU.
    """

    epochs: int = Field(10, ge=1)
    batch_size: int = Field(32, ge=1)
    accumulate: int = Field(1, ge=1)
    optimizer: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    lr_multipliers: dict[str, Annotated[float, Field(ge=0)]] = {}
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field((0.9, 0.999), strict=False)
    clip: float = Field(5.0, ge=0)
    schedule: Literal["constant", "cosine", "linear", "plateau"] = "constant"
    warmup: int = Field(0, ge=0)
    floor: float = Field(0.0, ge=0, le=1)
    plateau_factor: float = Field(0.5, gt=0, lt=1)
    plateau_patience: int = Field(1, ge=1)
    metric: str
    mode: Literal["max", "min"] = "max"
    patience: int = Field(0, ge=0)
    average: str = Field("none", pattern=r"^(none|ema|last-[1-9][0-9]*)$")
    average_decay: float = Field(0.999, gt=0, lt=1)
    evaluate_every: int = Field(0, ge=0)
    checkpoint_every: int = Field(0, ge=0)
    log_every: int = Field(50, ge=1)
    precision: Literal["no", "fp16", "bf16"] = "no"


class Recipe(_Section):
    """The settings of one training run. The file of a recipe holds one of these, or several as stages: see ``stages``.

    Args:
        name: name of the run and of its default folder.
        task: name of the architecture's task.
        seed: seed of initial weights, dropout and the order of the data.
        init: initial model: a zoo model, a recipe (its run) or the folder of a run; None: random weights.
        model, data, training: the sections.
        objective: options of the plugin's loss, such as label smoothing.
        decoding: fields of ``condgen_cli.running.decoding.Decoding`` for evaluation on the dev split, exported with the model.
    """

    name: str = Field(pattern=NAME)
    task: str
    seed: int = Field(0, ge=0, lt=2**32)
    init: str | None = None
    model: Model
    data: Data
    objective: dict[str, Any] = {}
    decoding: dict[str, Any] = {}
    training: Training

    @field_validator("init")
    @classmethod
    def _empty_as_none(cls, init: str | None) -> str | None:
        return init or None

    def make_decoding(self) -> Decoding:
        """The decoding settings of the section ``[decoding]``.

        Raises:
            UsageError: if a setting is unknown or its value is invalid.
        """
        from condgen_cli.running.decoding import Decoding

        known = list(Decoding.__dataclass_fields__)
        for name in self.decoding:
            if name not in known:
                raise _unknown_key("recipe", f"decoding.{name}", known)
        try:
            return TypeAdapter(Decoding).validate_python(self.decoding)
        except ValidationError as error:
            raise _usage_error(error, "recipe", ("decoding",), known) from None
        except UsageError as error:
            raise UsageError(f"recipe: decoding: {error.message}", error.hint) from None

    def to_json(self) -> str:
        """The recipe as JSON, with all defaults; ``stages.read_recipe`` reads it back as an equal recipe."""
        return self.model_dump_json(indent=2) + "\n"


def check(section: type[Checked], values: Mapping[str, Any], *path: str, source: str = "recipe") -> Checked:
    """Validate settings against a pydantic model; an error is one line that names the key.

    A number or a boolean is accepted as its text where a string is expected. Plugins validate their options with it, as in
    ``check(Options, recipe.model.options, "model")``.

    Args:
        section: pydantic model of the settings.
        values: the settings.
        path: keys that lead to these settings in the recipe.
        source: beginning of an error message, such as the name of a file.
    Raises:
        UsageError: if the settings are invalid.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        spelled = _with_texts(values, error)
    try:
        return section.model_validate(spelled)
    except ValidationError as error:
        raise _usage_error(error, source, path, _fields_at(section, error.errors()[0]["loc"][:-1])) from None


def _with_texts(values: Mapping[str, Any], error: ValidationError) -> Mapping[str, Any]:
    """The settings with numbers as strings where the validation expected a string."""
    spelled = copy.deepcopy(values)
    for fault in error.errors():
        if fault["type"] == "string_type" and isinstance(fault["input"], int | float):
            node: Any = spelled
            *places, last = fault["loc"]
            try:
                for place in places:
                    node = node[place]
                node[last] = option_text(node[last])
            except (KeyError, IndexError, TypeError):  # a location within a union isn't a path
                continue
    return spelled


def check_known(path: tuple[str, ...], source: str) -> None:
    """Make sure that a key path can be unset: that a recipe has it, or that it belongs to a plugin, which checks it.

    Raises:
        UsageError: for an unknown key.
    """
    section: type[BaseModel] = Recipe
    for depth, name in enumerate(path):
        if section.model_config.get("extra") != "forbid":
            return
        if name not in section.model_fields:
            raise _unknown_key(source, ".".join(path[: depth + 1]), list(section.model_fields))
        annotation = section.model_fields[name].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return
        section = annotation


def _fields_at(section: type[BaseModel], location: Iterable[Any]) -> list[str]:
    """Names of the fields in the section at an error's location."""
    for name in location:
        field = section.model_fields.get(str(name))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        section = field.annotation
    return list(section.model_fields)


def _unknown_key(source: str, key: str, known: list[str]) -> UsageError:
    return UsageError(f"{source}: {key}: unknown key", suggestion(key.rpartition(".")[2], known))


def _usage_error(error: ValidationError, source: str, path: tuple[str, ...], known: list[str]) -> UsageError:
    """The first validation error as one line, with the number of others."""
    first, *others = error.errors()
    key = ".".join((*path, *map(str, first["loc"])))
    if first["type"] == "extra_forbidden":
        return _unknown_key(source, key, known)
    if first["type"] == "missing":
        reason = "missing"
    else:
        shown = "" if isinstance(first["input"], dict) else f" (is {first['input']!r})"
        reason = f"{plain_message(first['msg'])}{shown}"
    return UsageError(f"{source}: {key}: {reason}{f' (and {len(others)} more)' if others else ''}")
