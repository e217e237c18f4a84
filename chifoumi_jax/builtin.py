"""The trained model that comes with the package."""

from pathlib import Path

from chifoumi_jax.run import RunError


def builtin_run() -> Path:
    """The folder of the packaged model's run.

    Raises:
        RunError: If the package has none.
    """
    raise RunError(
        "this version brings no trained model: name a run's folder, as `chifoumi train` prints it"
    )
