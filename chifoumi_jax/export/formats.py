"""Which formats there are, what each needs, and the error of one that cannot be made."""

import importlib.util
from typing import Literal

from chifoumi_jax.errors import UserError

Format = Literal["onnx", "stablehlo", "safetensors", "keras", "torch"]

SUFFIXES: dict[Format, str] = {
    "onnx": ".onnx",
    "stablehlo": ".stablehlo",
    "safetensors": ".safetensors",
    "keras": ".keras",
    "torch": ".pt2",
}


class ExportError(UserError, RuntimeError):
    """A model cannot be exported so, or what was written is not what the model computes."""


def needs(format_name: str, *packages: str, extra: str) -> None:
    """Make sure that packages are installed, without importing them.

    Raises:
        ExportError: With the extra to install, if one is not.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"--to {format_name} needs {' and '.join(missing)}: pip install 'chifoumi-jax[{extra}]'"
        )
