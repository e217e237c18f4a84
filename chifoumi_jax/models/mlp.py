"""The study's perceptrons, versions 3 and 2.1."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from chifoumi_jax.models.description import Dense, Dropout, Flatten, Layer, weights_of
from chifoumi_jax.models.dropout import draw_mask, dropout
from chifoumi_jax.models.network import Network

IMAGE_SIZE = 32


class MLP(Network):
    """Linear 1024 → 64 → 32 → `num_classes` with ReLU and dropout between: 67,779 parameters.

    Weights *and* biases are initialised uniformly in ±1/√fan_in, as in PyTorch's `Linear`.
    `relu_logits` adds a ReLU after the last layer; with a dropout rate of 0 this is the study's
    version 2.1.

    Source: the study's PyTorch 1.0.0 models. The loss computes their softmax.
    """

    layer_kinds: ClassVar = {
        "flatten": "Flatten",
        "fc": "Linear",
        "relu": "ReLU",
        "softmax": "Softmax",
    }

    def __init__(
        self,
        num_classes: int = 3,
        *,
        dropout_rate: float = 0.2,
        relu_logits: bool = False,
        rngs: nnx.Rngs,
    ):
        self.image_size = IMAGE_SIZE
        self.num_classes = num_classes
        self.dropout_rate = dropout_rate
        self.relu_logits = relu_logits
        self.fc1 = _linear(IMAGE_SIZE**2, 64, rngs)
        self.fc2 = _linear(64, 32, rngs)
        self.fc3 = _linear(32, num_classes, rngs)

    def __call__(
        self,
        images: Float[Array, "batch 32 32"],
        masks: tuple[Bool[Array, "batch 64"], Bool[Array, "batch 32"]] | None = None,
    ) -> Float[Array, "batch classes"]:
        """Returns logits; `images` are gray in [0, 1]. Dropout is active if `masks` are given."""
        x = images.reshape(images.shape[0], -1)
        for i, layer in enumerate((self.fc1, self.fc2)):
            x = jax.nn.relu(layer(x))
            if masks is not None:
                x = dropout(x, masks[i], self.dropout_rate)
        logits: Array = self.fc3(x)
        return jax.nn.relu(logits) if self.relu_logits else logits

    def draw_masks(
        self, key: Key[Array, ""], batch: int
    ) -> tuple[Bool[Array, "batch 64"], Bool[Array, "batch 32"]]:
        """Draws one mask for each dropout in the network."""
        first, second = jax.random.split(key)
        return (
            draw_mask(first, (batch, 64), self.dropout_rate),
            draw_mask(second, (batch, 32), self.dropout_rate),
        )

    def activations(
        self, images: Float[Array, "batch 32 32"]
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """Returns every layer's output in evaluation mode, by the study's layer names, in order."""
        outputs: dict[str, Array] = {}
        x = outputs["flatten"] = images.reshape(images.shape[0], -1)
        x = outputs["fc1"] = self.fc1(x)
        x = outputs["relu1"] = jax.nn.relu(x)
        x = outputs["fc2"] = self.fc2(x)
        x = outputs["relu2"] = jax.nn.relu(x)
        x = outputs["fc3"] = self.fc3(x)
        if self.relu_logits:
            x = outputs["relu3"] = jax.nn.relu(x)
        outputs["softmax"] = jax.nn.softmax(x)
        return outputs

    @property
    def layers(self) -> Mapping[str, nnx.Module]:
        """The layers that have parameters, by the study's names, in order."""
        return {"fc1": self.fc1, "fc2": self.fc2, "fc3": self.fc3}

    def describe(self) -> Sequence[Layer]:
        """Returns the layers with their weights in NumPy, by the study's names."""
        return [
            Flatten("flatten"),
            Dense("fc1", *weights_of(self.fc1), "relu"),
            Dropout("dropout1", self.dropout_rate),
            Dense("fc2", *weights_of(self.fc2), "relu"),
            Dropout("dropout2", self.dropout_rate),
            Dense("fc3", *weights_of(self.fc3), "relu" if self.relu_logits else None),
        ]


def _linear(features_in: int, features_out: int, rngs: nnx.Rngs) -> nnx.Linear:
    bound = 1 / math.sqrt(features_in)

    def uniform(key: Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(features_in, features_out, kernel_init=uniform, bias_init=uniform, rngs=rngs)
