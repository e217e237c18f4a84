"""Converts EfficientNet-Lite0 from and to PyTorch."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Float

from chifoumi_jax.convert.arrays import (
    abstract_model,
    check_arrays,
    check_finite,
    check_num_classes,
    dtype_name,
    shape_of,
)
from chifoumi_jax.convert.torch import TorchModule, as_stored, build_from_torch
from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.stored import StoredTensor
from chifoumi_jax.models.efficientnet_lite import STAGES, EfficientNetLite0

# PyTorch counts the batches of each batch normalisation; nothing reads the counter.
_COUNTER = ".num_batches_tracked"
_NORMS = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
_BLOCK_NORMS = {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}


def efficientnet_lite0_from_torch(
    source: str | os.PathLike[str] | Mapping[str, Any] | TorchModule,
    *,
    image_size: int = 224,
    dtype: DTypeLike = jnp.float32,
    stages: int = len(STAGES),
) -> EfficientNetLite0:
    """Builds the network from the PyTorch port's weights and running statistics, bit for bit.

    Args:
        source: A `.pt`, `.pth` or `.safetensors` file of a state dict, a state dict, or a module
            of efficientnet-lite-pytorch 0.1.0, with any number of classes.
        image_size: The model's image size in pixels; the weights fit any size.
        dtype: The dtype of the weights, float32 or float64; they are not converted.
        stages: Number of stages: seven, or fewer for a smaller network.

    Raises:
        WeightsError: If the file is damaged, hostile or of another format, or holds another model.
    """

    def build(tensors: Mapping[str, Any]) -> EfficientNetLite0:
        arrays = {
            name: as_stored(name, tensor)
            for name, tensor in tensors.items()
            if not str(name).endswith(_COUNTER)
        }
        return _from_arrays(arrays, image_size, dtype_name(dtype), stages)

    return build_from_torch(source, build)


def efficientnet_lite0_to_arrays(model: EfficientNetLite0) -> dict[str, Float[np.ndarray, "..."]]:
    """Returns the weights and running statistics with PyTorch's names and layout."""
    return {
        name: np.ascontiguousarray(_to_torch(name, np.asarray(variable[...])))
        for name, variable in variables(model).items()
    }


def variables(model: EfficientNetLite0) -> dict[str, nnx.Variable[Any]]:
    """Returns the parameters and running statistics by PyTorch's names, in PyTorch's order."""
    found: dict[str, nnx.Variable[Any]] = {}
    for name, layer in model.convolutions.items():
        block, _, convolution = name.rpartition(".")
        norm = _NORMS.get(name) or f"{block}.{_BLOCK_NORMS[convolution]}"
        found[f"{name}.weight"] = layer.kernel
        found[f"{norm}.weight"] = layer.norm.scale
        found[f"{norm}.bias"] = layer.norm.bias
        found[f"{norm}.running_mean"] = layer.norm.mean
        found[f"{norm}.running_var"] = layer.norm.variance
    assert model.classify.bias is not None
    return found | {"_fc.weight": model.classify.kernel, "_fc.bias": model.classify.bias}


def _from_arrays(
    arrays: Mapping[str, Any], image_size: int, dtype: str, stages: int
) -> EfficientNetLite0:
    classes = shape_of(arrays, "_fc.bias") if "_fc.bias" in arrays else ()
    if len(classes) != 1:
        raise WeightsError("it has no _fc.bias with one axis, so it is not an EfficientNet")
    num_classes = check_num_classes(classes[0])
    model = abstract_model(EfficientNetLite0, image_size, num_classes, stages=stages)
    found = variables(model)
    shapes = {name: _torch_shape(name, variable.shape) for name, variable in found.items()}
    check_arrays(arrays, shapes, dtype)
    for name, variable in found.items():
        value = arrays[name]
        array = value.read() if isinstance(value, StoredTensor) else np.array(value)
        check_finite(name, array)
        variable.set_value(jax.device_put(_from_torch(name, array)))
    return model


def _from_torch(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        # PyTorch has out, in, height, width; a depthwise kernel has one input.
        hwio = array.transpose(2, 3, 1, 0)
        return hwio[:, :, 0] if "_depthwise_conv" in name else hwio
    return array.T if array.ndim == 2 else array


def _to_torch(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 3:
        array = array[:, :, None]
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def _torch_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    # A broadcast view of one number has any shape and takes no memory.
    return _to_torch(name, np.broadcast_to(np.float32(0), shape)).shape
