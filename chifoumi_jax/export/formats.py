"""Which formats there are."""

from typing import Literal

Format = Literal["onnx", "stablehlo", "safetensors", "keras", "torch"]

SUFFIXES: dict[Format, str] = {
    "onnx": ".onnx",
    "stablehlo": ".stablehlo",
    "safetensors": ".safetensors",
    "keras": ".keras",
    "torch": ".pt2",
}
