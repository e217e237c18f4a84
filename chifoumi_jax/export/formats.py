"""The export formats, the packages that each needs, and the export error."""

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


# The modules that a format needs besides this package's own dependencies, and the extra with them.
NEEDED: dict[Format, tuple[tuple[str, ...], str]] = {
    "onnx": (("onnx", "onnxruntime"), "export"),
    "stablehlo": (("flatbuffers",), "export"),
    "safetensors": ((), ""),
    "keras": (("keras", "tensorflow"), "parity"),
    "torch": (("torch",), "parity"),
}


class ExportError(UserError, RuntimeError):
    """A model cannot be exported to a format, or the written file computes something else."""
