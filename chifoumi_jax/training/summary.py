"""A model's layers as a table, in the form that Keras prints and the study shows."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
from flax import nnx
from jaxtyping import Array

from chifoumi_jax.models import count_params
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.program import build_model


class Layer(NamedTuple):
    """One line of the table; the output's first dimension, the batch, is None."""

    name: str
    kind: str
    output_shape: tuple[int | None, ...]
    params: int


def layers(recipe: Recipe, num_classes: int = 3) -> list[Layer]:
    """The recipe's layers in order. Nothing is computed: shapes and counts alone."""
    names: list[str] = []

    def outputs(images: Array) -> list[Array]:
        activations = build_model(recipe, num_classes, nnx.Rngs(0)).activations(images)
        # A dictionary would come back sorted.
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
    """Number of parameters of all layers."""
    return sum(layer.params for layer in table)
