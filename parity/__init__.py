"""Proving that a JAX model equals its Keras or PyTorch original, rung by rung.

`parity.compare` does it for any model; `parity.systems` for the study's.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity.port import compare

__all__ = ["compare"]


def __getattr__(name: str) -> Any:
    # Only when it is used: `import parity` stays light.
    if name in __all__:
        from parity import port

        return getattr(port, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
