"""The interface of implementations of convolution, ReLU and pooling."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Float, UInt8

Images = Float[Array, "batch height width in"]
Kernel = Float[Array, "3 3 in out"]
Bias = Float[Array, " out"]
Pooled = Float[Array, "batch rows columns out"]
Winner = UInt8[Array, "batch rows columns out"]


Pool = Callable[[Images, Kernel, Bias], Pooled]
Forward = Callable[[Images, Kernel, Bias], tuple[Pooled, Winner]]


class Implementation(NamedTuple):
    """Two forward passes, the second with the winners that gradients need, and two backward passes.

    The gradients are two functions instead of one with two results, because `jit` removes calls
    whose result is unused. A first layer, which needs no image gradient, then does not compute it.
    """

    pool: Pool
    """Computes pooled values."""

    forward: Forward
    """Computes pooled values, and the winners of their windows (see `pooling.relu_pool`)."""

    weight_gradients: Callable[[Images, Kernel, Pooled, Winner], tuple[Kernel, Bias]]
    """Computes kernel and bias gradients from images, kernel, pooled gradient and winners."""

    image_gradient: Callable[[Images, Kernel, Pooled, Winner], Images]
    """Computes the image gradient from images, kernel, pooled gradient and winners."""


def without_winners(forward: Forward) -> Pool:
    """Returns a forward pass that gives pooled values only; `jit` removes the unused winners."""

    def pool(images: Images, kernel: Kernel, bias: Bias) -> Pooled:
        pooled, _ = forward(images, kernel, bias)
        return pooled

    return pool
