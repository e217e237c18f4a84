"""The small trained model that comes with the package: `load("small")`.

`CARD.md` in this folder describes it: training data, accuracy and limits.
"""

from pathlib import Path

from chifoumi_jax.training.run import RunError

NAME = "small"


def builtin_run() -> Path:
    """The packaged model's file, which `load` accepts in place of a run's folder.

    Raises:
        RunError: If the file is missing from the installation.
    """
    path = Path(__file__).with_name(f"{NAME}.safetensors")
    if not path.is_file():
        raise RunError(f"{path} is missing: install chifoumi-jax again")
    return path
