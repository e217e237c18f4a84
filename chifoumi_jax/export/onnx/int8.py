"""Static quantisation of an ONNX file: weights and activations in 8 bits."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chifoumi_jax.export.onnx.file import INPUT

# What is worth it; means, deviations and probabilities stay in float32.
_OPERATORS = ["Add", "Conv", "Clip", "Gemm", "GlobalAveragePool", "MaxPool", "Relu"]


def quantize(source: Path, target: Path, images: Sequence[np.ndarray]) -> None:
    """Write `source` again with 8-bit integers between QuantizeLinear and DequantizeLinear.

    Args:
        source: A file of `onnx_file.write`.
        target: Where to.
        images: What the ranges of the activations are taken from, as the file takes them: their
            smallest and largest values.
    """
    import onnx
    from onnx import helper
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._left, None)
            return None if image is None else {INPUT: image[None]}

    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as name:
        prepared = Path(name) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            # Each channel with a range of its own: those of a depthwise kernel differ a lot.
            per_channel=True,
        )
    model = onnx.load(target)
    texts = {text.key: text.value for text in onnx.load(source).metadata_props}
    helper.set_model_props(model, texts | {"quantization": "int8, static, QDQ"})
    onnx.checker.check_model(model, full_check=True)
    target.write_bytes(model.SerializeToString())
