"""Rock-paper-scissors hand classifiers in JAX/Flax: a 2018 study's CNN and MLP, and better ones."""

from typing import TYPE_CHECKING, Any

from chifoumi_jax import recipes
from chifoumi_jax.models import CNN, MLP, count_params

if TYPE_CHECKING:
    from chifoumi_jax.prediction.load import load
    from chifoumi_jax.reports import evaluate
    from chifoumi_jax.training.fit import fit, resume

__all__ = ["CNN", "MLP", "count_params", "evaluate", "fit", "load", "recipes", "resume"]

# These import more than Flax, so they are imported when they are first used.
_LAZY = {
    "evaluate": "reports",
    "fit": "training.fit",
    "resume": "training.fit",
    "load": "prediction.load",
}


def __getattr__(name: str) -> Any:
    """Import `evaluate`, `fit`, `resume` and `load` on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
