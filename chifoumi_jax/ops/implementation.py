"""What a way of computing convolution, ReLU and pooling consists of."""

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
    """Two forward passes, without and with what the gradients need, and two backward passes.

    The gradients are two functions, not one with two results, so that a first layer, which needs no
    gradient with respect to its images, does not pay for it: under `jit` an unused call is removed.
    """

    pool: Pool
    """Pooled values."""

    forward: Forward
    """Pooled values, and the winners of their windows (see `pooling.relu_pool`)."""

    weight_gradients: Callable[[Images, Kernel, Pooled, Winner], tuple[Kernel, Bias]]
    """Of kernel and bias, from images, kernel, the pooled values' gradient and the winners."""

    image_gradient: Callable[[Images, Kernel, Pooled, Winner], Images]
    """From images, kernel, the pooled values' gradient and the winners."""


def without_winners(forward: Forward) -> Pool:
    """The first of a forward pass' results. Under `jit` the other is not computed."""

    def pool(images: Images, kernel: Kernel, bias: Bias) -> Pooled:
        pooled, _ = forward(images, kernel, bias)
        return pooled

    return pool
