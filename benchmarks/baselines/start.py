"""A command's way to the end of its first step, its imports left out."""

import gc
import tempfile
from collections.abc import Callable

from chifoumi_jax import recipes
from chifoumi_jax.compilation_cache import keep_compiled
from chifoumi_jax.training.fit import fit
from chifoumi_jax.training.progress import Progress

WARM_UP = 0


class _FirstStepError(Exception):
    """The first step is done."""


def first_step(directory: str, image_size: int) -> Callable[[], None]:
    """Photos, compilation, initial weights, one step; once, as a process starts once."""
    # Imported here, that their import is not counted later.
    import grain  # noqa: F401
    import orbax.checkpoint.experimental.v1  # noqa: F401

    # As the command line begins.
    gc.freeze()
    keep_compiled()
    recipe = recipes.cnn.replace(data=directory, image_size=image_size)

    def stop(*_: object) -> None:
        raise _FirstStepError

    runs = tempfile.TemporaryDirectory()
    held: list[object] = [runs]

    def work() -> None:
        # Where a training learns that its steps are done; it has no hook for others.
        settle = Progress.settle
        Progress.settle = _after(settle, stop)  # type: ignore[method-assign]
        try:
            fit(recipe.replace(runs=runs.name), quiet=True)
        except _FirstStepError as stopped:
            # With all that the training had: to give that back is no part of its start.
            held.append(stopped)
            return
        finally:
            Progress.settle = settle  # type: ignore[method-assign]
        raise RuntimeError("the training took no step")

    return work


def _after(function: Callable[..., None], then: Callable[..., None]) -> Callable[..., None]:
    def both(*arguments: object) -> None:
        function(*arguments)
        then()

    return both
