"""The small trained model that comes with the package: `load("small")`.

`CARD.md` beside it says what it is and what it is good at.
"""

from pathlib import Path

from chifoumi_jax.training.run import RunError

NAME = "small"


def builtin_run() -> Path:
    """The packaged model's file, which `load` takes in place of a run's folder.

    Raises:
        RunError: If the installation is not whole.
    """
    path = Path(__file__).with_name(f"{NAME}.safetensors")
    if not path.is_file():
        raise RunError(f"{path} is missing: install chifoumi-jax again")
    return path
