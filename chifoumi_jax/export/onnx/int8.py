"""Static quantisation of an ONNX file: weights and activations in 8 bits."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chifoumi_jax.export.onnx.file import INPUT

# Operators for which 8 bits pay off; means, deviations and probabilities stay in float32.
_OPERATORS = ["Add", "Conv", "Clip", "Gemm", "GlobalAveragePool", "MaxPool", "Relu"]


def quantize(source: Path, target: Path, images: Sequence[np.ndarray]) -> None:
    """Write `source` with 8-bit integers between QuantizeLinear and DequantizeLinear nodes.

    Args:
        source: A file that `file.write` wrote.
        target: The file to write.
        images: Images in the file's input layout. The smallest and largest activations for them set
            the activations' ranges.
    """
    import onnx
    from onnx import helper
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._images, None)
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
            # One range for each channel, because the channels of a depthwise kernel differ a lot.
            per_channel=True,
        )
    model = onnx.load(target)
    metadata = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
    helper.set_model_props(model, metadata | {"quantization": "int8, static, QDQ"})
    onnx.checker.check_model(model, full_check=True)
    target.write_bytes(model.SerializeToString())
