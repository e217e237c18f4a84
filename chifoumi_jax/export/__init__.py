"""Export of a run's model to ONNX, StableHLO, safetensors, Keras or PyTorch."""

from typing import TYPE_CHECKING, Any

from chifoumi_jax.export.formats import ExportError

if TYPE_CHECKING:
    from chifoumi_jax.export.writing import Report, export

__all__ = ["ExportError", "Report", "export"]


def __getattr__(name: str) -> Any:
    """Import `writing` on first use, because it loads much more than the error class."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from chifoumi_jax.export import writing

    return getattr(writing, name)
