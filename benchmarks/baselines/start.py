"""Time from the start of a training command to the end of its first step, without imports."""

import gc
import tempfile
from collections.abc import Callable

from chifoumi_jax import recipes
from chifoumi_jax.compilation_cache import enable_compilation_cache
from chifoumi_jax.training.fit import fit
from chifoumi_jax.training.progress import Progress

WARM_UP = 0


class _FirstStepError(Exception):
    """Stops the training after its first step."""


def first_step(directory: str, image_size: int) -> Callable[[], None]:
    """Load photos, compile, initialise weights and take one step; runs once in a process."""
    # Imported here, so that the import is not timed later.
    import grain  # noqa: F401
    import orbax.checkpoint.experimental.v1  # noqa: F401

    # As the command line does at its start.
    gc.freeze()
    enable_compilation_cache()
    recipe = recipes.cnn.replace(data=directory, image_size=image_size)

    def stop(*_: object) -> None:
        raise _FirstStepError

    runs = tempfile.TemporaryDirectory()
    held: list[object] = [runs]

    def work() -> None:
        # A training calls `add_sums` after its steps. It is patched because there is no hook.
        add_sums = Progress.add_sums
        Progress.add_sums = _after(add_sums, stop)  # type: ignore[method-assign]
        try:
            fit(recipe.replace(runs=runs.name), quiet=True)
        except _FirstStepError as stopped:
            # Keeps the training's memory alive, because freeing it is not part of the start.
            held.append(stopped)
            return
        finally:
            Progress.add_sums = add_sums  # type: ignore[method-assign]
        raise RuntimeError("the training took no step")

    return work


def _after(function: Callable[..., None], then: Callable[..., None]) -> Callable[..., None]:
    def wrapped(*arguments: object) -> None:
        function(*arguments)
        then()

    return wrapped
