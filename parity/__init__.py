"""Proves that a JAX model equals its Keras or PyTorch original, rung by rung.

`parity.compare` compares any model; `parity.systems` holds the study's models.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity.port import compare

__all__ = ["compare"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import parity` stays fast.
    if name in __all__:
        from parity import port

        return getattr(port, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
