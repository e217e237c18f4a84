"""The study's CNN: its JAX port, its Keras originals, and the inputs of the comparison."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from chifoumi_jax import losses, recipes
from chifoumi_jax.convert.arrays import cnn_from_arrays, cnn_to_arrays
from chifoumi_jax.ops import conv_relu_pool
from chifoumi_jax.optim import keras_adam
from chifoumi_jax.training.step import scale_keras
from parity.candidate import Weights, candidate
from parity.case import Case
from parity.inputs import Batch, Masks, Training
from parity.original import Original
from reference import order
from reference.legacy import seeded

# Images are compared at this size, because float64 at 600 pixels takes minutes.
SIZE = 64
_UNITS = 64


def cnn_masks(name: str, batch: int) -> Masks:
    """The mask of the CNN's only dropout, which keeps about half of the units."""
    return (seeded.random("mask " + name).uniform(size=(batch, _UNITS)) >= 0.5,)


def cnn_steps(image_size: int, dtype: str, draw: int = 0, steps: int = seeded.STEPS) -> Training:
    """The first steps of the CNN on one of several draws of pictures and masks."""
    batches = []
    for step in range(steps):
        pixels, labels = seeded.cnn_batch(image_size, 100 * draw + step)
        masks = cnn_masks(f"cnn {image_size} {draw} {step}", len(labels))
        batches.append(Batch(pixels, labels, masks))
    weights = seeded.cnn_weights(image_size, dtype)
    return Training(weights, batches, seeded.KEPT_STEPS, image_size, draw)


def cnn_recipe(dtype: str, rows: Sequence[np.ndarray], masks: Sequence[Masks]) -> Training:
    """The study's whole training at 64 pixels, with the given rows of images and masks.

    The original of 2018 recorded its own rows and masks, and this repeats them.
    """
    pixels, labels = seeded.training_set(294, SIZE)
    batches = [
        Batch(pixels[chosen], labels[chosen], mask)
        for chosen, mask in zip(rows, masks, strict=True)
    ]
    return Training(seeded.cnn_weights(SIZE, dtype), batches, (len(batches),), SIZE)


def study_rows(images: int = 294, batch_size: int = 25, steps: int = 110) -> list[np.ndarray]:
    """Indices of each batch in the study's order, with seeded permutations.

    The study's 10 epochs have 11 steps each, because Keras counts whole batches only: 294 // 25.
    """
    rng = seeded.random("study rows")
    shown = order.batches(images, batch_size, rng.permutation)
    return [next(shown) for _ in range(steps)]


def cnn_whole_recipe(dtype: str) -> Training:
    """The study's whole training at 64 pixels, with seeded rows and masks."""
    rows = study_rows()
    masks = [cnn_masks(f"recipe {i}", len(chosen)) for i, chosen in enumerate(rows)]
    return cnn_recipe(dtype, rows, masks)


def _batch(size: int, draw: int) -> Batch:
    return Batch(*seeded.cnn_batch(size, draw))


def originals() -> list[Original]:
    """Today's Keras and Keras 2.2.4; imports TensorFlow."""
    from parity.originals.golden import golden_keras
    from parity.originals.keras_cnn import KerasOriginal

    return [KerasOriginal(CASE), golden_keras(CASE, functools.partial(cnn_recipe, "float64"))]


def cnn_ties(block: Callable[[Array, Array, Array], Array], dtype: str) -> Weights:
    """Pooled values, and the gradient by the input, for an input with many ties.

    Where the maximum of a pooling window occurs twice, and at the ReLU's zero, frameworks may
    choose different gradients. The kernel is the identity at its centre, so that the values reach
    the ReLU unchanged, and the border that is added for the convolution is never read.
    """
    values = seeded.tied_values(dtype)
    channels = values.shape[-1]
    kernel = np.zeros((3, 3, channels, channels), dtype)
    kernel[1, 1] = np.eye(channels)
    images = jnp.asarray(np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=7))
    pooled, pull_back = jax.vjp(
        lambda x: block(x, jnp.asarray(kernel), jnp.zeros(channels, dtype)), images
    )
    gradient = pull_back(jnp.asarray(seeded.tied_gradient(dtype)))[0]
    return {"pooled": np.asarray(pooled), "gradient": np.asarray(gradient)[:, 1:-1, 1:-1]}


PORT = candidate(
    recipes.study_cnn,
    recipes.study_cnn.replace(image_size=64),
    scale=scale_keras,
    from_arrays=cnn_from_arrays,
    to_arrays=cnn_to_arrays,
    loss=losses.softmax_categorical_crossentropy,
    optimizer=keras_adam,
    ties=functools.partial(cnn_ties, conv_relu_pool),
)

CASE = Case(
    port=PORT,
    total_params=21_856_483,
    size=SIZE,
    recorded_sizes=(SIZE, 600),
    large_sizes=(600,),
    recorded_draws=seeded.DRAWS,
    # First the study's images, batch size and epochs. Then 50 images, which the batch size divides,
    # and fewer images than two batches.
    orders=((294, 25, 10), (50, 25, 3), (7, 3, 4)),
    picture_size=lambda number: seeded.RESIZES[number][1],
    photo_size=150,
    shapes=lambda: seeded.cnn_shapes(SIZE),
    weights=seeded.cnn_weights,
    batch=_batch,
    masks=cnn_masks("first batch", len(_batch(SIZE, 0).labels)),
    steps=cnn_steps,
    whole_recipe=cnn_whole_recipe,
    training_pictures=lambda count: seeded.training_set(count, SIZE)[0],
    recipe_is_long=True,
    trains_independently=True,
)
