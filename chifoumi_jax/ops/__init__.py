"""Operations with custom gradients: exact, and fast where XLA's are slow on a CPU."""

from chifoumi_jax.ops.conv_relu_pool import conv_relu_pool, conv_relu_pool_lax
from chifoumi_jax.ops.depthwise import depthwise_conv

__all__ = ["conv_relu_pool", "conv_relu_pool_lax", "depthwise_conv"]
