"""Our MLP's epochs, from decoded pixels to trained weights."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import jax

from chifoumi_jax import recipes
from chifoumi_jax.data.dataset import load_dataset
from chifoumi_jax.display import Display
from chifoumi_jax.train import Trainer

WARM_UP = 1


def epochs(directory: str, number: int) -> Callable[[], None]:
    """All steps of the study's recipe, compiled before."""
    recipe = recipes.study_mlp.replace(data=directory, epochs=number)
    data = load_dataset(recipe, Path(directory), Path(tempfile.gettempdir()))
    trainer = Trainer(recipe, data, Display(quiet=True))
    order = trainer.order

    def work() -> None:
        state = trainer.program.init(trainer.seeds[0])
        for epoch in range(number):
            take_steps = trainer.steps(epoch, state)
            for part in trainer.feed.parts(epoch * order.steps_per_epoch, order.steps_per_epoch):
                first, count = map(jax.numpy.int32, (part.first, part.number))
                state, sums = take_steps(
                    state, part.photos, part.rows, first, count, trainer.seeds[1]
                )
                jax.device_get(sums)

    return work
