"""What a recipe decides: the sections of settings that a model is trained by, checked against what they must be."""

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
"""What a recipe may be called: its run's folder is."""

Checked = TypeVar("Checked", bound=BaseModel)


class _Section(BaseModel):
    """Unknown keys and values of another type are errors; a recipe doesn't change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _OpenSection(BaseModel):
    """A section whose further keys belong to a plugin, which checks them with ``check``."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the plugin."""
        return dict(self.model_extra or {})


class Model(_OpenSection):
    """``[model]``: an architecture, and the options of its plugin."""

    architecture: str


class Data(_OpenSection):
    """``[data]``: a data set, and the options of its plugin.

    ``options`` are the data set's own, as ``--set`` gives them: texts, also where a number or a list is written.
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
    """``[training]``: the loop's settings.

    Args:
        epochs: passes over the training data.
        batch_size: items in a batch on one process; experiments make their batches of it.
        accumulate: batches whose gradients make one step. Several processes share them if their number divides it; otherwise
            each takes so many.
        optimizer: ``momentum`` is SGD's and RMSprop's, ``betas`` are AdamW's.
        lr: highest learning rate. ``lr_multipliers`` scales it for parameters by the prefix of their names; the longest wins.
            Those with 0 stay as they are.
        clip: greatest norm of the gradient; 0: no clipping.
        schedule: of the learning rate. ``cosine`` and ``linear`` fall to ``floor`` (a share of ``lr``) over all epochs;
            ``plateau`` multiplies by ``plateau_factor`` after ``plateau_patience`` evaluations without a better metric, down
            to ``floor``. The first ``warmup`` steps rise linearly.
        metric: the dev metric that selects the model, better if greater or smaller by ``mode``.
        patience: stop after this many evaluations without a better metric; 0: never.
        average: weights that are evaluated and exported: the latest (``none``), an exponential moving average with
            ``average_decay`` (``ema``), or the mean over the last N evaluations (``last-N``).
        evaluate_every: steps between evaluations; 0: at the end of each epoch. The end of the training is always evaluated.
        checkpoint_every: steps between checkpoints beside the one after each evaluation; 0: none.
        log_every: steps between lines of the log.
        precision: of the forward pass; a GPU only.
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
    """The settings of one training. A recipe's file holds one of these, or several one after the other: see ``stages``.

    Args:
        name: of the run; also the default folder's name.
        task: name of the architecture's task.
        seed: of initial weights, dropout and the order of the data.
        init: a zoo model, a recipe or a run directory whose weights are the starting point.
        model, data, training: the sections.
        objective: options of the plugin's loss, such as label smoothing.
        decoding: options of ``condgen_cli.running.decoding.Decoding`` for the free-running evaluation, kept with the model.
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
        """The ``[decoding]`` section as the decoder takes it.

        Raises:
            UsageError: if an option is unknown or its value doesn't fit.
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
        """The resolved recipe, every default written out; ``stages.read_recipe`` reads it back as an equal recipe."""
        return self.model_dump_json(indent=2) + "\n"


def check(section: type[Checked], values: Mapping[str, Any], *path: str, source: str = "recipe") -> Checked:
    """Validate settings against a pydantic model, with one line that names the key if they don't fit.

    A number or a truth value stands for its text where a text is wanted. Plugins check their options with it:
    ``check(Options, recipe.model.options, "model")``.

    Args:
        section: what the settings must be.
        values: the settings.
        path: keys that lead to these settings in the recipe.
        source: what the line starts with.
    Raises:
        UsageError: if they don't fit.
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
    """The settings with numbers as texts where the validation wanted a text."""
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
    """Refuse to unset what no recipe has; what belongs to a plugin, the plugin checks."""
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
    """Names of the fields of the section that an error's location leads to."""
    for name in location:
        field = section.model_fields.get(str(name))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        section = field.annotation
    return list(section.model_fields)


def _unknown_key(source: str, key: str, known: list[str]) -> UsageError:
    return UsageError(f"{source}: {key}: unknown key", suggestion(key.rpartition(".")[2], known))


def _usage_error(error: ValidationError, source: str, path: tuple[str, ...], known: list[str]) -> UsageError:
    """One line for the first fault, and how many there are beside it."""
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
