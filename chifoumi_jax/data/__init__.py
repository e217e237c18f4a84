"""Turns a folder of photos into pixels."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chifoumi_jax.data.folder.scanning import scan
    from chifoumi_jax.data.pixels import load_pixels

__all__ = ["load_pixels", "scan"]

_LAZY_IMPORTS = {"scan": "folder.scanning", "load_pixels": "pixels"}


def __getattr__(name: str) -> Any:
    """Import `scan` and `load_pixels` on first use, because they import Pillow."""
    if name not in _LAZY_IMPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY_IMPORTS[name]}"), name)
