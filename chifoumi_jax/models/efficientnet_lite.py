"""EfficientNet-Lite0, a small network with weights pretrained on ImageNet."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from chifoumi_jax.models.backbone import Backbone
from chifoumi_jax.models.description import (
    Conv,
    Dense,
    Dropout,
    Layer,
    Mean,
    Residual,
    Scale,
    weights_of,
)
from chifoumi_jax.ops import depthwise_conv

FEATURES = 1280
# The fraction of the running statistics that each step keeps, as in the original's training.
_MOMENTUM = 0.99
_EPSILON = 1e-3


class Stage(NamedTuple):
    """A sequence of equal blocks, except that only the first one has the stride."""

    repeats: int
    side: int
    stride: int
    expansion: int
    channels: int


# Source: Tan & Le 2019, table 1; the lite variants have neither squeeze-and-excitation nor swish.
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
_STEM = 32


def relu6(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Clips values to [0, 6]; at exactly 0 and 6 the gradient is 0, as in PyTorch."""
    return jnp.where(x > 0, jnp.where(x < 6, x, jnp.full_like(x, 6)), jnp.zeros_like(x))


class BatchNorm(nnx.Module):
    """Batch normalisation over channels: trained scale and bias, and running statistics."""

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.variance = nnx.BatchStat(jnp.ones(channels))

    def folded(self) -> tuple[Float[Array, " channels"], Float[Array, " channels"]]:
        """Returns the factor and offset that normalise by the running statistics."""
        factor = self.scale[...] * jax.lax.rsqrt(self.variance[...] + _EPSILON)
        return factor, self.bias[...] - self.mean[...] * factor

    def __call__(
        self, values: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        """Normalises by the batch's own statistics and updates the running statistics.

        The running variance is updated with the unbiased variance, as in PyTorch and TensorFlow's
        fused operation; Flax's own `BatchNorm` uses the biased one.
        """
        count = math.prod(values.shape[:3])
        mean = jnp.mean(values, axis=(0, 1, 2))
        centred = values - mean
        variance = jnp.mean(centred**2, axis=(0, 1, 2))
        for running, new in (
            (self.mean, mean),
            (self.variance, variance * (count / max(count - 1, 1))),
        ):
            running[...] = _MOMENTUM * running[...] + (1 - _MOMENTUM) * jax.lax.stop_gradient(new)
        factor = self.scale[...] * jax.lax.rsqrt(variance + _EPSILON)
        return centred * factor + self.bias[...]


class ConvNorm(nnx.Module):
    """A convolution without bias (dense or depthwise), batch normalisation, and optional ReLU6."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        side: int = 1,
        stride: int = 1,
        *,
        depthwise: bool = False,
        activate: bool = True,
        rngs: nnx.Rngs,
    ):
        self.stride = stride
        self.activate = activate
        self.depthwise = depthwise
        shape = (side, side, channels_out) if depthwise else (side, side, channels_in, channels_out)
        fan_out = side * side * (1 if depthwise else channels_out)
        deviation = math.sqrt(2 / fan_out)
        self.kernel = nnx.Param(deviation * jax.random.normal(rngs.params(), shape))
        self.norm = BatchNorm(channels_out)

    def __call__(
        self, x: Float[Array, "batch height width in"], by_batch: bool
    ) -> Float[Array, "batch rows columns out"]:
        """`by_batch` normalises by the batch's statistics, otherwise the running ones are used."""
        if by_batch:
            x = self.norm(self._convolve(x, self.kernel[...]))
        else:
            # Folding the factor into the kernel is free, and no intermediate value must be kept.
            factor, offset = self.norm.folded()
            x = self._convolve(x, self.kernel[...] * factor) + offset
        return relu6(x) if self.activate else x

    def describe(self, name: str) -> Conv:
        """Returns the convolution in evaluation mode, with its weights in NumPy."""
        factor, offset = self.norm.folded()
        return Conv(
            name,
            np.asarray(self.kernel[...] * factor, np.float32),
            np.asarray(offset, np.float32),
            stride=self.stride,
            same=True,
            activation="relu6" if self.activate else None,
        )

    def _convolve(self, x: Array, kernel: Array) -> Array:
        if self.depthwise:
            return depthwise_conv(x, kernel, self.stride)
        if kernel.shape[:2] == (1, 1):
            return x @ kernel[0, 0]
        # A matrix product, because XLA's gradient of such a kernel takes half a CPU training step.
        return _patches(x, kernel.shape[0], self.stride) @ kernel.reshape(-1, kernel.shape[3])


class Block(nnx.Module):
    """Inverted bottleneck: expand, depthwise convolution, project; adds its input if shapes fit.

    Source: Sandler et al. 2018, MobileNetV2.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        side: int,
        stride: int,
        expansion: int,
        rngs: nnx.Rngs,
    ):
        wide = channels_in * expansion
        self.expand = ConvNorm(channels_in, wide, rngs=rngs) if expansion > 1 else None
        self.depthwise = ConvNorm(wide, wide, side, stride, depthwise=True, rngs=rngs)
        self.project = ConvNorm(wide, channels_out, activate=False, rngs=rngs)
        self.adds_input = stride == 1 and channels_in == channels_out

    def __call__(
        self, x: Float[Array, "batch height width in"], by_batch: bool
    ) -> Float[Array, "batch rows columns out"]:
        """`by_batch` as in `ConvNorm`."""
        inner = x if self.expand is None else self.expand(x, by_batch)
        inner = self.project(self.depthwise(inner, by_batch), by_batch)
        return x + inner if self.adds_input else inner


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0 for any image size: 4,652,008 parameters with ImageNet's 1,000 classes.

    With fewer than seven `stages`, the last ones are left out, which gives a smaller network. No
    gradient reaches the first `frozen_stages` stages and the layers before them.

    Source: the PyTorch port of TensorFlow's model (PyPI: efficientnet-lite-pytorch 0.1.0). Its
    stochastic depth is left out.
    """

    layer_kinds: ClassVar = {
        "_conv_stem": "ConvNorm",
        "_blocks.": "Block",
        "_conv_head": "ConvNorm",
        "_avg_pooling": "AvgPool",
        "_fc": "Linear",
    }

    def __init__(
        self,
        image_size: int = 224,
        num_classes: int = 1000,
        *,
        dropout_rate: float = 0.2,
        stages: int = len(STAGES),
        frozen_stages: int = 0,
        rngs: nnx.Rngs,
    ):
        self.image_size = image_size
        self.num_classes = num_classes
        self.dropout_rate = dropout_rate
        self.stem = ConvNorm(3, _STEM, 3, 2, rngs=rngs)
        self.blocks = nnx.List(_blocks(STAGES[:stages], rngs))
        self.frozen_blocks = sum(stage.repeats for stage in STAGES[:frozen_stages])
        self.head = ConvNorm(STAGES[stages - 1].channels, FEATURES, rngs=rngs)
        self.classify = nnx.Linear(
            FEATURES, num_classes, kernel_init=_uniform(math.sqrt(1 / num_classes)), rngs=rngs
        )

    def feature_map(
        self, images: Float[Array, "batch height width 3"], by_batch: bool = False
    ) -> Float[Array, "batch rows columns 1280"]:
        """Returns the output of the last convolution for RGB in [0, 1]."""
        x = self.stem(scale_lite(images), by_batch)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, by_batch)
            if number == self.frozen_blocks:
                x = jax.lax.stop_gradient(x)
        return self.head(x, by_batch)

    def is_frozen(self, path: tuple[Any, ...]) -> bool:
        """Whether the variable is in the frozen stages or in the layers before them."""
        part = path[0]
        in_stages = part == "stem" or (part == "blocks" and path[1] < self.frozen_blocks)
        return self.frozen_blocks > 0 and in_stages

    def load_pretrained(self, pretrained: Backbone) -> None:
        """Copies all weights and running statistics from another model, except the last layer's.

        A model with fewer stages copies only its own stages, and keeps its last convolution.
        """
        assert isinstance(pretrained, EfficientNetLite0)
        for part, other in zip(self.blocks, pretrained.blocks, strict=False):
            nnx.update(part, nnx.state(other))
        nnx.update(self.stem, nnx.state(pretrained.stem))
        if len(self.blocks) == len(pretrained.blocks):
            nnx.update(self.head, nnx.state(pretrained.head))

    def activations(
        self, images: Float[Array, "batch height width 3"], by_batch: bool = False
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """Returns every block's output without dropout, by the original's names, in order."""
        outputs: dict[str, Array] = {}
        x = outputs["_conv_stem"] = self.stem(scale_lite(images), by_batch)
        for number, block in enumerate(self.blocks):
            x = outputs[f"_blocks.{number}"] = block(x, by_batch)
        x = outputs["_conv_head"] = self.head(x, by_batch)
        x = outputs["_avg_pooling"] = jnp.mean(x, axis=(1, 2))
        outputs["_fc"] = self.classify(x)
        return outputs

    @property
    def layers(self) -> Mapping[str, nnx.Module]:
        """The parts that have parameters, by the original's names, in order."""
        blocks = {f"_blocks.{number}": block for number, block in enumerate(self.blocks)}
        return {"_conv_stem": self.stem} | blocks | {"_conv_head": self.head, "_fc": self.classify}

    @property
    def convolutions(self) -> Mapping[str, ConvNorm]:
        """All convolutions, by the original's names, in order."""
        found = {"_conv_stem": self.stem}
        for number, block in enumerate(self.blocks):
            for part in ("expand", "depthwise", "project"):
                if (layer := getattr(block, part)) is not None:
                    found[f"_blocks.{number}._{part}_conv"] = layer
        return found | {"_conv_head": self.head}

    def describe(self) -> Sequence[Layer]:
        """Returns the layers with their weights in NumPy, with batch normalisation folded in."""
        return list(self._describe())

    def _describe(self) -> Iterator[Layer]:
        # The same as `scale_lite`.
        yield Scale("scale", 255 / 128, -127 / 128)
        yield self.stem.describe("conv_stem")
        for number, block in enumerate(self.blocks):
            parts = {"expand": block.expand, "depthwise": block.depthwise, "project": block.project}
            layers = tuple(
                layer.describe(f"block{number}_{part}")
                for part, layer in parts.items()
                if layer is not None
            )
            if block.adds_input:
                yield Residual(f"block{number}_add", layers)
            else:
                yield from layers
        yield self.head.describe("conv_head")
        yield Mean("avg_pooling")
        yield Dropout("dropout", self.dropout_rate)
        yield Dense("fc", *weights_of(self.classify), None)


def _patches(
    x: Float[Array, "batch height width in"], side: int, stride: int
) -> Float[Array, "batch rows columns patch"]:
    """Returns the pixels under the kernel at each position, with zeros for SAME padding."""
    padding, sizes = [(0, 0)], []
    for length in x.shape[1:3]:
        size = -(-length // stride)
        missing = max((size - 1) * stride + side - length, 0)
        # The extra zero is at the bottom and right.
        padding.append((missing // 2, missing - missing // 2))
        sizes.append(size)
    padded = jnp.pad(x, [*padding, (0, 0)])
    rows, columns = ((size - 1) * stride + 1 for size in sizes)
    places = (
        padded[:, top : top + rows : stride, left : left + columns : stride]
        for top in range(side)
        for left in range(side)
    )
    return jnp.concatenate(list(places), axis=-1)


def scale_lite(images: Float[Array, "..."]) -> Float[Array, "..."]:
    """Converts from [0, 1] to the range that the weights were trained on: (pixel - 127) / 128.

    Source: TensorFlow's efficientnet_lite_builder.py.
    """
    return images * (255 / 128) - 127 / 128


def _blocks(stages: Sequence[Stage], rngs: nnx.Rngs) -> Iterator[Block]:
    channels = _STEM
    for stage in stages:
        for repeat in range(stage.repeats):
            yield Block(
                channels,
                stage.channels,
                side=stage.side,
                stride=stage.stride if repeat == 0 else 1,
                expansion=stage.expansion,
                rngs=rngs,
            )
            channels = stage.channels


def _uniform(bound: float) -> nnx.Initializer:
    def draw(key: Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return draw
