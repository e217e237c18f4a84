"""The export formats, the check of the packages that they need, and the export error."""

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
    """A model cannot be exported to a format, or the written file computes something else."""


def require_packages(format_name: str, *packages: str, extra: str) -> None:
    """Check that packages are installed, without importing them.

    Raises:
        ExportError: If a package is missing; the message names the extra to install.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"--to {format_name} needs {' and '.join(missing)}: pip install 'chifoumi-jax[{extra}]'"
        )
