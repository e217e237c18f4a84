"""Epochs of this project: decoded pixels to trained weights, without evaluation and saving."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import jax

from chifoumi_jax import recipes
from chifoumi_jax.data.dataset import load_dataset
from chifoumi_jax.training.display import Display
from chifoumi_jax.training.trainer import Trainer

WARM_UP = 1


def mlp(directory: str, epochs: int) -> Callable[[], None]:
    """All training steps of the study's MLP, already compiled."""
    return _epochs(recipes.study_mlp.replace(data=directory, epochs=epochs))


def cnn(directory: str, epochs: int, image_size: int, precision: str) -> Callable[[], None]:
    """All training steps of the study's CNN, already compiled."""
    recipe = recipes.study_cnn.replace(data=directory, epochs=epochs, image_size=image_size)
    return _epochs(recipe.replace(precision=precision))


def _epochs(recipe: recipes.Recipe) -> Callable[[], None]:
    assert recipe.data is not None
    data = load_dataset(recipe, recipe.data, Path(tempfile.gettempdir()))
    trainer = Trainer(recipe, data, Display(quiet=True))
    order = trainer.order

    def work() -> None:
        state = trainer.program.init(trainer.seeds[0])
        for epoch in range(recipe.epochs):
            take_steps = trainer.steps(epoch, state)
            for part in trainer.feed.parts(epoch * order.steps_per_epoch, order.steps_per_epoch):
                first, count = map(jax.numpy.int32, (part.first, part.number))
                state, sums = take_steps(
                    state, part.photos, part.rows, first, count, trainer.seeds[1]
                )
                jax.device_get(sums)

    return work
