"""Trains the study's CNN from a seed, in Keras and in JAX, for `parity.equivalence`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chifoumi_jax import recipes
from reference import photos

# Maps a seed to the accuracies on the training photos and on the test photos.
Train = Callable[[int], tuple[float, float]]


def recipe_with(settings: Mapping[str, int]) -> recipes.Recipe:
    """The study's recipe with the settings of the comparison."""
    return recipes.study_cnn.replace(**settings)


def keras_training(train: photos.Split, test: photos.Split, settings: Mapping[str, int]) -> Train:
    """A function that trains with Keras from a seed and returns the accuracies on both splits."""
    import keras

    from reference import keras_cnn

    def run(seed: int) -> tuple[float, float]:
        keras.utils.set_random_seed(seed)
        model = keras_cnn.build(settings["image_size"], int(train.labels.max()) + 1)
        keras_cnn.train(
            model,
            train,
            epochs=settings["epochs"],
            batch_size=settings["batch_size"],
            seed=seed,
            say=lambda _: None,
        )
        found = [
            float((keras_cnn.predict(model, split.pixels).argmax(1) == split.labels).mean())
            for split in (train, test)
        ]
        keras.utils.clear_session()
        return found[0], found[1]

    return run


def jax_training(train: photos.Split, test: photos.Split, settings: Mapping[str, int]) -> Train:
    """The same with JAX, trained as `chifoumi train --recipe study-cnn` trains."""
    import jax

    from chifoumi_jax.data.order import Order
    from chifoumi_jax.data.pipeline import Batch, Photos
    from chifoumi_jax.training.program import build
    from chifoumi_jax.training.step import device_mesh

    recipe = recipe_with(settings)
    size = recipe.batch_size

    def batch(split: photos.Split, rows: np.ndarray) -> Batch:
        weights = (rows >= 0).astype(np.float32)
        places = np.where(rows < 0, 0, rows)
        return Batch(split.pixels[places], split.labels[places].astype(np.int32), weights)

    steps = len(Order(len(train), size, recipe.epochs, seed=0, kind=recipe.order))
    program = build(recipe, int(train.labels.max()) + 1, steps, device_mesh())
    pixels = Photos(train.pixels, train.labels.astype(np.int32))

    def accuracy(params: Any, split: photos.Split) -> float:
        right = 0.0
        for start in range(0, len(split), size):
            rows = np.full(size, -1)
            part = np.arange(start, min(start + size, len(split)))
            rows[: len(part)] = part
            right += float(program.evaluate(params, batch(split, rows))[1].correct)
        return right / len(split)

    def run(seed: int) -> tuple[float, float]:
        weights_key, noise_key = jax.random.split(jax.random.key(seed))
        state = program.init(weights_key)
        order = Order(len(train), size, recipe.epochs, seed, kind=recipe.order)
        rows = np.stack([order[step] for step in range(len(order))])
        state, _ = program.steps(state, pixels, rows, 0, len(order), noise_key, True)
        return accuracy(state.params, train), accuracy(state.params, test)

    return run
