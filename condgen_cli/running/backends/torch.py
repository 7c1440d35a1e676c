"""Building a model from a bundle, without initialising weights, and loading its weights."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from torch.overrides import TorchFunctionMode

from condgen_cli.errors import IntegrityError, PluginError
from condgen_cli.files.weights import read_weights
from condgen_cli.model import Model, Predictor, SequenceModel
from condgen_cli.running.backends.building import call_builder, find_spec
from condgen_cli.running.bundle import Bundle

__all__ = ["build_model"]


def build_model(bundle: Bundle) -> Model:
    """The model with its weights, in evaluation mode, on the CPU and in 32-bit floats.

    Raises:
        PluginError: if no plugin provides its architecture, the plugin can't build it, or it builds something else than a
            model.
        IntegrityError: if the weights are damaged or don't match the architecture.
    """
    spec = find_spec(bundle)
    model = call_builder(spec.build, bundle, within=nullcontext() if spec.loads_weights else _WithoutInitialisation())
    _check_contract(model, bundle)
    if not spec.loads_weights:
        _load_weights(model, bundle)
    built: Model = model.eval()
    return built


def _check_contract(model: Any, bundle: Bundle) -> None:
    found = f"the plugin of {bundle.architecture!r} builds an instance of {type(model).__name__}"
    if not isinstance(model, SequenceModel | Predictor):
        raise PluginError(
            f"{found}, which is neither a SequenceModel nor a Predictor",
            f"as of API 2, class {type(model).__name__} derives from one of these, which are in condgen_cli.model",
        )
    if isinstance(model, SequenceModel) and model.vocabulary is None:
        raise PluginError(f"{found}, whose vocabulary is None", "set self.vocabulary: see condgen_cli.model.Vocabulary")


class _WithoutInitialisation(TorchFunctionMode):
    """Skips the initialisation of parameters, which are replaced anyway: drawing millions of random numbers takes as long as
    running the model on a photo."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _load_weights(model: Model, bundle: Bundle) -> None:
    weights = read_weights(bundle.files, bundle.name)
    expected = model.state_dict()
    faults = {
        "missing": expected.keys() - weights.keys(),
        "unexpected": weights.keys() - expected.keys(),
        "of another shape": {name for name in expected.keys() & weights.keys() if expected[name].shape != weights[name].shape},
        "of another kind of number": {
            name
            for name in expected.keys() & weights.keys()
            if expected[name].is_floating_point() != weights[name].is_floating_point()
        },
    }
    found = [f"{_shorten_list(names)} {fault}" for fault, names in faults.items() if names]
    if found:
        raise IntegrityError(f"the weights of {bundle.name} don't fit its architecture: {'; '.join(found)}")
    model.load_state_dict(weights)


def _shorten_list(names: Sequence[str] | set[str], shown: int = 3) -> str:
    ordered = sorted(names)
    rest = f" and {len(ordered) - shown} more" if len(ordered) > shown else ""
    return ", ".join(f"{name:.80}" for name in ordered[:shown]) + rest
