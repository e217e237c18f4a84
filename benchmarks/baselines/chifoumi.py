"""Steps and predictions of this project, as `chifoumi train --recipe study-cnn` runs them."""

from collections.abc import Callable

import jax
import numpy as np

from benchmarks.baselines import inputs
from chifoumi_jax import recipes
from chifoumi_jax.data.pipeline import Photos
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.training.program import Program, build
from chifoumi_jax.training.step import device_mesh


def _program(image_size: int) -> Program:
    recipe = recipes.study_cnn.replace(image_size=image_size)
    return build(recipe, inputs.CLASSES, 1000, device_mesh())


def train(batch_size: int, image_size: int) -> Callable[[], None]:
    """One training step: scaling, dropout, forward, backward, Adam."""
    program = _program(image_size)
    key = jax.random.key(0)
    held = [program.init(key)]
    pixels = inputs.images(batch_size, image_size), inputs.labels(batch_size)
    photos = jax.device_put(Photos(*pixels), program.replicated)
    rows = np.arange(batch_size, dtype=np.int32)[None]

    def step() -> None:
        state, sums = program.steps(held.pop(), photos, rows, 0, 1, key, True)
        held.append(jax.block_until_ready(state))
        assert np.isfinite(sums.loss).all()

    return step


def predict(batch_size: int, image_size: int) -> Callable[[], None]:
    """Class probabilities from `Classifier`, for a batch of pixels in host memory."""
    recipe = recipes.study_cnn.replace(image_size=image_size)
    program = _program(image_size)
    weights = program.init(jax.random.key(0)).weights
    classifier = Classifier(
        recipe, [str(label) for label in range(inputs.CLASSES)], program, weights
    )
    pixels = inputs.images(batch_size, image_size)

    def run() -> None:
        classifier.probabilities(pixels)

    return run
