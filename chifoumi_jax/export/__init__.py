"""A run's model for other runtimes: ONNX, StableHLO, safetensors, Keras and PyTorch."""

from typing import TYPE_CHECKING, Any

from chifoumi_jax.export.formats import ExportError

if TYPE_CHECKING:
    from chifoumi_jax.export.writing import Report, export

__all__ = ["ExportError", "Report", "export"]


def __getattr__(name: str) -> Any:
    """Import what brings in more than the error when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from chifoumi_jax.export import writing

    return getattr(writing, name)
