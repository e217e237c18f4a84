"""A run's model for other runtimes: ONNX, StableHLO, safetensors, Keras and PyTorch."""

from typing import TYPE_CHECKING, Any

from chifoumi_jax.export.errors import ExportError

if TYPE_CHECKING:
    from chifoumi_jax.export.safetensors_file import load_safetensors
    from chifoumi_jax.export.writing import Report, export

__all__ = ["ExportError", "Report", "export", "load_safetensors"]

_LATER = {"Report": "writing", "export": "writing", "load_safetensors": "safetensors_file"}


def __getattr__(name: str) -> Any:
    """Import what brings in more than the error when it is first used."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
