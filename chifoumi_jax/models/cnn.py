"""The study's convolutional network."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from chifoumi_jax.models.description import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    weights_of,
)
from chifoumi_jax.models.dropout import draw_mask, dropout
from chifoumi_jax.models.network import Network
from chifoumi_jax.ops import conv_relu_pool

# The smallest image that has at least one pixel left after three convolutions and poolings.
MIN_IMAGE_SIZE = 22


def features_size(image_size: int) -> int:
    """Returns the height (= width) of the last feature map: 600 → 73."""
    for _ in range(3):
        image_size = (image_size - 2) // 2
    return image_size


class CNN(Network):
    """Three blocks of 3 × 3 convolution, ReLU, 2 × 2 pooling; then Dense 64, ReLU, dropout, Dense.

    Kernels are initialised with Keras' `glorot_uniform` and biases with zero. With images of
    600 × 600 pixels and three classes it has 21,856,483 parameters.

    Source: the study's Keras 2.2.4 model. The loss and the classifier compute its softmax.
    """

    layer_kinds: ClassVar = {
        "conv2d": "Conv2D",
        "activation": "Activation",
        "max_pooling2d": "MaxPooling2D",
        "flatten": "Flatten",
        "dense": "Dense",
        "dropout": "Dropout",
    }

    def __init__(
        self,
        image_size: int = 600,
        num_classes: int = 3,
        *,
        dropout_rate: float = 0.5,
        rngs: nnx.Rngs,
    ):
        if image_size < MIN_IMAGE_SIZE:
            raise ValueError(f"image_size is {image_size}; the CNN needs at least {MIN_IMAGE_SIZE}")
        self.image_size = image_size
        self.num_classes = num_classes
        self.dropout_rate = dropout_rate
        self.conv1 = _conv(3, 32, rngs)
        self.conv2 = _conv(32, 32, rngs)
        self.conv3 = _conv(32, 64, rngs)
        self.dense1 = _dense(features_size(image_size) ** 2 * 64, 64, rngs)
        self.dense2 = _dense(64, num_classes, rngs)

    def __call__(
        self,
        images: Float[Array, "batch height width 3"],
        masks: tuple[Bool[Array, "batch 64"]] | None = None,
    ) -> Float[Array, "batch classes"]:
        """Returns logits; `images` are RGB in [0, 1]. Dropout is active if `masks` are given."""
        return self.classify_map(self.feature_map(images), masks)

    def feature_map(
        self, images: Float[Array, "batch height width 3"]
    ) -> Float[Array, "batch rows columns 64"]:
        """Returns the output of the last convolution after its ReLU and pooling."""
        x = images
        for conv in (self.conv1, self.conv2, self.conv3):
            x = conv_relu_pool(x, *_weights(conv))
        return x

    def classify_map(
        self,
        maps: Float[Array, "batch rows columns 64"],
        masks: tuple[Bool[Array, "batch 64"]] | None = None,
    ) -> Float[Array, "batch classes"]:
        """Returns logits from the output of `feature_map`."""
        x = jax.nn.relu(self.dense1(maps.reshape(maps.shape[0], -1)))
        if masks is not None:
            x = dropout(x, masks[0], self.dropout_rate)
        logits: Array = self.dense2(x)
        return logits

    def map_centres(self, places: int) -> tuple[float, float]:
        """Accounts for the border that the convolutions lose.

        A position is at the centre of its receptive field of 22 pixels, 8 pixels from the next one.
        """
        del places
        return (MIN_IMAGE_SIZE - 1) / 2, 8.0

    def draw_masks(self, key: Key[Array, ""], batch: int) -> tuple[Bool[Array, "batch 64"]]:
        """Draws one mask for each dropout in the network."""
        return (draw_mask(key, (batch, 64), self.dropout_rate),)

    def activations(
        self, images: Float[Array, "batch height width 3"]
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """Returns every layer's output in evaluation mode, by Keras' layer names, in order.

        It uses only `jax.lax`, so that it also checks the fused operations of `__call__`.
        """
        outputs: dict[str, Array] = {}
        x = images
        for i, conv in enumerate((self.conv1, self.conv2, self.conv3), start=1):
            kernel, bias = _weights(conv)
            x = bias + jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            outputs[f"conv2d_{i}"] = x
            x = jax.nn.relu(x)
            outputs[f"activation_{i}"] = x
            x = nnx.max_pool(x, (2, 2), strides=(2, 2))
            outputs[f"max_pooling2d_{i}"] = x
        x = outputs["flatten_1"] = x.reshape(x.shape[0], -1)
        x = outputs["dense_1"] = self.dense1(x)
        x = outputs["activation_4"] = jax.nn.relu(x)
        outputs["dropout_1"] = x
        x = outputs["dense_2"] = self.dense2(x)
        outputs["activation_5"] = jax.nn.softmax(x)
        return outputs

    @property
    def layers(self) -> Mapping[str, nnx.Module]:
        """The layers that have parameters, by Keras' layer names, in order."""
        return {
            "conv2d_1": self.conv1,
            "conv2d_2": self.conv2,
            "conv2d_3": self.conv3,
            "dense_1": self.dense1,
            "dense_2": self.dense2,
        }

    def describe(self) -> Sequence[Layer]:
        """Returns the layers with their weights in NumPy, by Keras' layer names."""
        return list(self._describe())

    def _describe(self) -> Iterator[Layer]:
        for number, conv in enumerate((self.conv1, self.conv2, self.conv3), start=1):
            kernel, bias = weights_of(conv)
            yield Conv(f"conv2d_{number}", kernel, bias, stride=1, same=False, activation="relu")
            yield MaxPool(f"max_pooling2d_{number}")
        yield Flatten("flatten_1")
        yield Dense("dense_1", *weights_of(self.dense1), "relu")
        yield Dropout("dropout_1", self.dropout_rate)
        yield Dense("dense_2", *weights_of(self.dense2), None)


def _conv(channels_in: int, channels_out: int, rngs: nnx.Rngs) -> nnx.Conv:
    return nnx.Conv(
        channels_in,
        channels_out,
        (3, 3),
        padding="VALID",
        kernel_init=nnx.initializers.glorot_uniform(),
        rngs=rngs,
    )


def _dense(features_in: int, features_out: int, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(
        features_in, features_out, kernel_init=nnx.initializers.glorot_uniform(), rngs=rngs
    )


def _weights(conv: nnx.Conv) -> tuple[Float[Array, "3 3 in out"], Float[Array, " out"]]:
    assert conv.bias is not None
    return jnp.asarray(conv.kernel[...]), jnp.asarray(conv.bias[...])
