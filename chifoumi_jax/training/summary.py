"""A model's layers as a table, in the form of Keras' `summary`, which the study shows."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
from flax import nnx
from jaxtyping import Array

from chifoumi_jax.models import count_params
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.program import build_model


class Layer(NamedTuple):
    """One row of the table; the first dimension of `output_shape` is the batch, None."""

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    params: int


def layers(recipe: Recipe, num_classes: int = 3) -> list[Layer]:
    """The recipe's layers in order. Only shapes and counts are derived; nothing is computed."""
    names: list[str] = []

    def outputs(images: Array) -> list[Array]:
        activations = build_model(recipe, num_classes, nnx.Rngs(0)).activations(images)
        # Returned as a list, because JAX sorts the keys of a dictionary.
        names.extend(activations)
        return list(activations.values())

    images = jax.ShapeDtypeStruct((1, *recipe.input_shape), "float32")
    shapes = [(None, *output.shape[1:]) for output in jax.eval_shape(outputs, images)]
    model = nnx.eval_shape(lambda: build_model(recipe, num_classes, nnx.Rngs(0)))
    params = {name: count_params(layer) for name, layer in model.layers.items()}
    return [
        Layer(name, model.layer_kinds[name.rstrip("_0123456789")], shape, params.get(name, 0))
        for name, shape in zip(names, shapes, strict=True)
    ]


def total(table: Sequence[Layer]) -> int:
    """Total number of parameters."""
    return sum(layer.params for layer in table)
