"""The CNN written operation by operation, so that a fault can be planted in each operation."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array

from chifoumi_jax import recipes
from chifoumi_jax.models import CNN
from chifoumi_jax.training.summary import Layer, layers
from parity.candidate import Candidate
from parity.systems import study_cnn


def convolve(x: Array, kernel: Array, bias: Array, padding: str = "VALID") -> Array:
    """A convolution as Keras computes it."""
    numbers = ("NHWC", "HWIO", "NHWC")
    found: Array = lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=numbers)
    return found + bias


def pool(x: Array) -> Array:
    """The maximum of each 2 x 2 window; the gradient goes to the first of equal maxima."""
    return _pool(x, range(4))


def pool_last(x: Array) -> Array:
    """The same values, but the gradient goes to the last of equal maxima."""
    return _pool(x, reversed(range(4)))


def _pool(x: Array, order: Any) -> Array:
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    places = [x[:, i:height:2, j:width:2] for i in range(2) for j in range(2)]
    first, *others = (places[place] for place in order)
    for other in others:
        first = jnp.where(other > first, other, first)
    return first


def flatten(x: Array) -> Array:
    """Flattens row by row, with the channels of a pixel next to each other."""
    return x.reshape(len(x), -1)


def drop(x: Array, mask: Array, rate: float) -> Array:
    """Dropout with a given mask of the kept units."""
    return jnp.where(mask, x / (1 - rate), 0)


@dataclasses.dataclass(frozen=True)
class PlainCNN:
    """The study's CNN as replaceable operations.

    Attributes:
        convolve: One function for each of the three convolutions.
        relu: One function for each of the four ReLUs.
        pool: Max pooling.
        flatten: The flatten before the dense layers.
        drop: Dropout.
    """

    convolve: Sequence[Callable[[Array, Array, Array], Array]] = (convolve,) * 3
    relu: Sequence[Callable[[Array], Array]] = (jax.nn.relu,) * 4
    pool: Callable[[Array], Array] = pool
    flatten: Callable[[Array], Array] = flatten
    drop: Callable[[Array, Array, float], Array] = drop

    def outputs(self, model: CNN, images: Array, masks: Any = None) -> Mapping[str, Array]:
        """Every layer's output, by Keras's layer names."""
        found: dict[str, Array] = {}
        x = images
        for i, layer in enumerate((model.conv1, model.conv2, model.conv3), start=1):
            assert layer.bias is not None
            kernel, bias = jnp.asarray(layer.kernel[...]), jnp.asarray(layer.bias[...])
            x = found[f"conv2d_{i}"] = self.convolve[i - 1](x, kernel, bias)
            x = found[f"activation_{i}"] = self.relu[i - 1](x)
            x = found[f"max_pooling2d_{i}"] = self.pool(x)
        x = found["flatten_1"] = self.flatten(x)
        x = found["dense_1"] = model.dense1(x)
        x = found["activation_4"] = self.relu[3](x)
        x = found["dropout_1"] = x if masks is None else self.drop(x, masks[0], model.dropout_rate)
        x = found["dense_2"] = model.dense2(x)
        found["activation_5"] = jax.nn.softmax(x)
        return found

    def logits(self, model: CNN, images: Array, masks: Any) -> Array:
        """The inputs of the softmax."""
        return self.outputs(model, images, masks)["dense_2"]

    def structure(self) -> list[Layer]:
        """The table of layers, with the output shapes of these operations."""
        recipe = recipes.study_cnn
        model = nnx.eval_shape(lambda: CNN(recipe.image_size, rngs=nnx.Rngs(0)))
        graph, state = nnx.split(model)
        images = jax.ShapeDtypeStruct((1, *recipe.input_shape), jnp.float32)
        shapes = jax.eval_shape(lambda s, x: self.outputs(nnx.merge(graph, s), x), state, images)
        return [
            row._replace(output_shape=(None, *shapes[row.name].shape[1:])) for row in layers(recipe)
        ]

    def block(self, x: Array, kernel: Array, bias: Array) -> Array:
        """The first convolution, ReLU and pooling."""
        return self.pool(self.relu[0](self.convolve[0](x, kernel, bias)))

    def candidate(self) -> Candidate:
        """The port with these operations instead of its own."""
        return study_cnn.PORT.replace(
            structure=self.structure,
            outputs=self.outputs,
            logits=self.logits,
            ties=lambda dtype: study_cnn.cnn_ties(self.block, dtype),
        )
