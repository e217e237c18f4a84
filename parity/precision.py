"""Fixes the precision of a comparison, and reports it."""

import contextlib
import importlib.metadata
import platform
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def pinned(dtype: str = "float32") -> Iterator[None]:
    """JAX at this precision, with matmul precision "highest"; TF32 off in every framework.

    Args:
        dtype: "float32" or "float64".
    """
    _without_tf32()
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        yield


def _without_tf32() -> None:
    import sys

    # Only frameworks that are already imported: a comparison with Keras does not import PyTorch.
    if "tensorflow" in sys.modules:
        sys.modules["tensorflow"].config.experimental.enable_tensor_float_32_execution(False)
    if "torch" in sys.modules:
        sys.modules["torch"].backends.cuda.matmul.allow_tf32 = False
        sys.modules["torch"].backends.cudnn.allow_tf32 = False


def environment() -> dict[str, str]:
    """Versions, device and precision, as the report prints them."""
    names = ("jax", "flax", "optax", "keras", "tensorflow", "torch", "numpy", "pillow")
    found = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    device = jax.devices()[0]
    return {
        **found,
        "device": f"{device.platform} ({device.device_kind})",
        "precision": "matmul highest, TF32 off",
    }
