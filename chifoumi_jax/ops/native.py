"""The fast CPU implementation: kernels in C++ (`cpp/`), compiled with the package, called by XLA.

In the forward pass, a window's four convolutions stay in registers until the largest is known. The
convolution's output, four times as large as the pooled values, is never stored. In the backward
pass, three of a window's four values have no gradient, and the kernels skip them. This needs a
quarter of the arithmetic of a convolution's gradient; dense matrix products cannot skip them.

Equal values tie exactly. The order of summation depends only on shapes, not on the number of
threads.
"""

import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from chifoumi_jax.ops.implementation import Bias, Images, Implementation, Kernel, Pooled, Winner

_LIBRARY = Path(__file__).with_name("_native.so")
_TARGETS = (
    *("pool", "forward", "weight_gradients", "image_gradient"),
    *(f"depthwise_{target}" for target in ("forward", "kernel_gradient", "image_gradient")),
)
_DTYPES = ("float32", "float64")


def _load() -> tuple[ctypes.CDLL | None, str]:
    """Registers the library's functions with XLA; returns the library, or why it cannot be used."""
    if not _LIBRARY.exists():
        return None, "chifoumi-jax was installed without a C++ compiler"
    try:
        library = ctypes.CDLL(str(_LIBRARY))
        library.chifoumi_instruction_set.restype = ctypes.c_char_p
        library.chifoumi_use_instruction_set.restype = ctypes.c_bool
        # Without this check, JAX would not start at all.
        if library.chifoumi_ffi_version() > _ffi_version():
            return (
                None,
                f"{_LIBRARY.name} was compiled for a newer jaxlib; install chifoumi-jax again",
            )
        for target in _TARGETS:
            for dtype in _DTYPES:
                name = f"chifoumi_{target}_{dtype}"
                jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(library[name]), platform="cpu")
    except (OSError, AttributeError) as error:
        return None, f"{_LIBRARY.name} cannot be loaded ({error})"
    return library, ""


def _ffi_version() -> int:
    """Returns the minor version of XLA's FFI in the installed jaxlib."""
    header = Path(jax.ffi.include_dir()) / "xla/ffi/api/c_api.h"
    found = re.search(r"#define XLA_FFI_API_MINOR (\d+)", header.read_text())
    return int(found[1]) if found else 0


_library, absence = _load()
"""`absence` says why there are no native kernels; it is empty if there are."""


def serves(dtype: DTypeLike) -> bool:
    """Whether there are kernels for arrays of this dtype."""
    return _library is not None and jnp.dtype(dtype).name in _DTYPES


def instruction_set() -> str | None:
    """Returns the instruction set that the kernels use: "x86-64-v4", "x86-64-v3" or "baseline"."""
    return None if _library is None else _library.chifoumi_instruction_set().decode()


def use_instruction_set(name: str) -> bool:
    """Switches to another instruction set; returns whether this processor supports it."""
    return _library is not None and _library.chifoumi_use_instruction_set(name.encode())


def function(target: str, dtype: DTypeLike, *results: jax.ShapeDtypeStruct) -> Callable[..., Any]:
    """Returns one of the library's functions for arrays of a supported dtype."""
    name = f"chifoumi_{target}_{jnp.dtype(dtype).name}"
    return jax.ffi.ffi_call(name, results, vmap_method="sequential")


def _pooled(images: Images, kernel: Kernel) -> jax.ShapeDtypeStruct:
    batch, height, width, _ = images.shape
    shape = (batch, (height - 2) // 2, (width - 2) // 2, kernel.shape[3])
    return jax.ShapeDtypeStruct(shape, images.dtype)


def _pool(images: Images, kernel: Kernel, bias: Bias) -> Pooled:
    (pooled,) = function("pool", images.dtype, _pooled(images, kernel))(images, kernel, bias)
    return pooled


def _forward(images: Images, kernel: Kernel, bias: Bias) -> tuple[Pooled, Winner]:
    pooled = _pooled(images, kernel)
    winner = jax.ShapeDtypeStruct(pooled.shape, jnp.uint8)
    return function("forward", images.dtype, pooled, winner)(images, kernel, bias)


def _weight_gradients(
    images: Images, kernel: Kernel, gradient: Pooled, winner: Winner
) -> tuple[Kernel, Bias]:
    of_kernel = jax.ShapeDtypeStruct(kernel.shape, kernel.dtype)
    of_bias = jax.ShapeDtypeStruct(kernel.shape[3:], kernel.dtype)
    call = function("weight_gradients", images.dtype, of_kernel, of_bias)
    return call(images, gradient, winner)


def _image_gradient(images: Images, kernel: Kernel, gradient: Pooled, winner: Winner) -> Images:
    of_images = jax.ShapeDtypeStruct(images.shape, images.dtype)
    (result,) = function("image_gradient", images.dtype, of_images)(kernel, gradient, winner)
    return result


implementation = Implementation(_pool, _forward, _weight_gradients, _image_gradient)
