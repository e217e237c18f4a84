"""Convolution, ReLU and max pooling as one operation with a custom gradient."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jaxtyping import Array

from chifoumi_jax.ops import native, xla, xla_blocked
from chifoumi_jax.ops.implementation import Bias, Images, Implementation, Kernel, Pooled, Winner


def conv_relu_pool(images: Images, kernel: Kernel, bias: Bias) -> Pooled:
    """Keras' `Conv2D(out, 3)`, `Activation("relu")`, `MaxPooling2D(2)`, without padding.

    The result equals that of `lax`'s operations up to rounding. Gradients follow the tie rules of
    `pooling.relu_pool`. On a CPU, `native` computes it, or `xla_blocked` if `native` is not
    compiled or does not support the dtype. On a Hopper GPU, `pallas_gpu` computes it where it is
    faster. Otherwise `xla` does. Use `conv_relu_pool_lax` for `jax.export`, which cannot write
    native kernels.

    Args:
        images: Float images of at least 4 x 4 pixels.
        kernel: The kernel, with the dtype of `images`.
        bias: The bias, with the dtype of `images`.

    Returns:
        Pooled values of the same dtype: `(height - 2) // 2` rows, `(width - 2) // 2` columns.

    Raises:
        ValueError: If shapes or dtypes are not as described.
    """
    _check(images, kernel, bias)
    return _chosen(images, kernel, bias)


def conv_relu_pool_lax(images: Images, kernel: Kernel, bias: Bias) -> Pooled:
    """`conv_relu_pool`, computed by `xla` on every platform: same arguments, results and errors."""
    _check(images, kernel, bias)
    return _whole(images, kernel, bias)


def _check(images: Images, kernel: Kernel, bias: Bias) -> None:
    if len(images.shape) != 4 or min(images.shape[1:3]) < 4 or images.shape[3] < 1:
        raise ValueError(
            f"images have shape {images.shape}; expected (batch, height, width, in), at least "
            "4 x 4 pixels and one channel"
        )
    channels = images.shape[3]
    if len(kernel.shape) != 4 or kernel.shape[:3] != (3, 3, channels):
        raise ValueError(f"kernel has shape {kernel.shape}; expected (3, 3, {channels}, out)")
    if bias.shape != kernel.shape[3:]:
        raise ValueError(f"bias has shape {bias.shape}; expected {kernel.shape[3:]}")
    dtypes = [str(array.dtype) for array in (images, kernel, bias)]
    if len(set(dtypes)) > 1:
        raise ValueError(f"images, kernel and bias are {', '.join(dtypes)}; use one dtype")


def differentiable(implementation: Implementation) -> Callable[[Images, Kernel, Bias], Pooled]:
    """Returns the operation with these forward and backward passes; it checks no arguments."""

    @jax.custom_vjp
    def operation(images: Images, kernel: Kernel, bias: Bias) -> Pooled:
        return implementation.pool(images, kernel, bias)

    def run(
        images: Images, kernel: Kernel, bias: Bias
    ) -> tuple[Pooled, tuple[Images, Kernel, Winner]]:
        pooled, winner = implementation.forward(images, kernel, bias)
        return pooled, (images, kernel, winner)

    def pull_back(
        saved: tuple[Images, Kernel, Winner], gradient: Pooled
    ) -> tuple[Images, Kernel, Bias]:
        images, kernel, winner = saved
        return (
            implementation.image_gradient(images, kernel, gradient, winner),
            *implementation.weight_gradients(images, kernel, gradient, winner),
        )

    operation.defvjp(run, pull_back)
    return operation


def _by_platform(name: str) -> Callable[..., Any]:
    # The choice is made when XLA compiles, for the device that it compiles for, because the default
    # backend could be another device. The choice is inside the custom gradient, so the switch is
    # never differentiated, and XLA still removes unused gradients.
    def compute(*arguments: Array) -> Any:
        ways = {
            "cpu": native.implementation
            if native.serves(arguments[0].dtype)
            else xla_blocked.implementation
        }
        if _has_hopper() and _tiles_serve(name, *arguments[:2]):
            from chifoumi_jax.ops import pallas_gpu

            ways["cuda"] = pallas_gpu.implementation
        chosen = {
            platform: getattr(implementation, name) for platform, implementation in ways.items()
        }
        return lax.platform_dependent(
            *arguments, **chosen, default=getattr(xla.implementation, name)
        )

    return compute


@functools.cache
def _has_hopper() -> bool:
    # All GPUs must be of the type that the tiles were tuned for. Starting the devices here does no
    # harm, because the traced code is compiled soon.
    try:
        devices = jax.local_devices(backend="cuda")
    except RuntimeError:
        return False
    return {str(device.compute_capability) for device in devices} == {"9.0"}


def _tiles_serve(name: str, images: Images, kernel: Kernel) -> bool:
    # Imported here so that programs without a Hopper GPU do not wait for Pallas.
    try:
        from chifoumi_jax.ops import pallas_gpu
    except (ImportError, AttributeError):
        # JAX will drop the Triton backend of Pallas.
        return False
    return pallas_gpu.serves(name, images, kernel)


_chosen = differentiable(Implementation(*map(_by_platform, Implementation._fields)))
_whole = differentiable(xla.implementation)
