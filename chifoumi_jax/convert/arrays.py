"""Converts between a model and flat, named NumPy arrays in the original's layout."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Float

from chifoumi_jax.convert.image_size import image_size_for
from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_CLASSES
from chifoumi_jax.convert.untrusted.stored import StoredTensor
from chifoumi_jax.models import CNN, MLP

# Arrays or tensors that are still in their file. They may come from a hostile file, so the types of
# the values are checked here.
Arrays = Mapping[str, Any]
_Model = TypeVar("_Model", bound=nnx.Module)
_DTYPES = ("float32", "float64")

CNN_NAMES = tuple(
    f"{layer}/{part}"
    for layer in ("conv2d_1", "conv2d_2", "conv2d_3", "dense_1", "dense_2")
    for part in ("kernel", "bias")
)
MLP_NAMES = tuple(
    f"{layer}.{part}" for layer in ("fc1", "fc2", "fc3") for part in ("weight", "bias")
)


def cnn_from_arrays(
    arrays: Arrays,
    image_size: int | None = None,
    dtype: DTypeLike = jnp.float32,
    dropout_rate: float = 0.5,
) -> CNN:
    """Builds the CNN from these weights, bit for bit; the model owns its memory.

    Args:
        arrays: `conv2d_1/kernel` (3, 3, in, out), `conv2d_1/bias` (out,), … `dense_1/kernel`
            (in, out), … `dense_2/bias`, as Keras lays them out.
        image_size: Height and width in pixels; by default, `image_size_for` finds it.
        dtype: The dtype that all arrays must have: float32, or float64 if JAX has 64 bits enabled.
        dropout_rate: The model's dropout rate.

    Raises:
        WeightsError: If an array is missing, not part of the network or not finite, or has another
            shape or dtype.
    """
    _check_names(arrays, CNN_NAMES)
    rows = _axis_size(arrays, "dense_1/kernel", axis=0)
    classes = check_num_classes(_axis_size(arrays, "dense_2/kernel", axis=1))
    size = image_size_for(rows, image_size)
    model = abstract_model(CNN, size, classes, dropout_rate=dropout_rate)
    _fill(_cnn_params(model), arrays, dtype)
    return model


def cnn_to_arrays(model: CNN) -> dict[str, Float[np.ndarray, "..."]]:
    """Returns the CNN's weights as `cnn_from_arrays` takes them, as views where possible.

    Raises:
        WeightsError: If a weight has another shape, another dtype than the rest, or is not finite.
    """
    expected = abstract_model(CNN, model.image_size, model.num_classes)
    return _extract(_cnn_params(model), _shapes(_cnn_params(expected)))


def mlp_from_arrays(
    arrays: Arrays,
    dtype: DTypeLike = jnp.float32,
    *,
    relu_logits: bool = False,
    dropout_rate: float = 0.2,
) -> MLP:
    """Builds the perceptron from these weights, bit for bit; the model owns its memory.

    Args:
        arrays: `fc1.weight` (out, in), `fc1.bias` (out,), … `fc3.bias`, as PyTorch lays them out.
        dtype: The dtype that all arrays must have: float32, or float64 if JAX has 64 bits enabled.
        relu_logits: True for the study's version 2.1; the weights do not say it.
        dropout_rate: The model's dropout rate.

    Raises:
        WeightsError: If an array is missing, not part of the network or not finite, or has another
            shape or dtype.
    """
    _check_names(arrays, MLP_NAMES)
    classes = check_num_classes(_axis_size(arrays, "fc3.weight", axis=0))
    model = abstract_model(MLP, classes, dropout_rate=dropout_rate, relu_logits=relu_logits)
    _fill(_mlp_params(model), arrays, dtype)
    return model


def mlp_to_arrays(model: MLP) -> dict[str, Float[np.ndarray, "..."]]:
    """Returns the perceptron's weights as `mlp_from_arrays` takes them.

    Raises:
        WeightsError: If a weight has another shape, another dtype than the rest, or is not finite.
    """
    expected = abstract_model(MLP, model.num_classes)
    return _extract(_mlp_params(model), _shapes(_mlp_params(expected)))


def check_arrays(
    arrays: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> None:
    """Checks that `arrays` has exactly the names of `shapes`, with these shapes and this dtype.

    Raises:
        WeightsError: For the first difference.
    """
    _check_names(arrays, shapes)
    for name, shape in shapes.items():
        found = shape_of(arrays, name)
        if found != shape:
            raise WeightsError(f"{name} has shape {found}; expected {shape}")
        if str(arrays[name].dtype) != dtype:
            raise WeightsError(f"{name} is {arrays[name].dtype}; expected {dtype}")


def dtype_name(dtype: DTypeLike) -> str:
    """Returns NumPy's name of a dtype that weights may have.

    Raises:
        WeightsError: If it is neither float32 nor float64, or is float64 while JAX has 32 bits.
    """
    name = str(np.dtype(dtype))
    if name not in _DTYPES:
        raise WeightsError(f"dtype is {name}; expected {' or '.join(_DTYPES)}")
    if str(jax.dtypes.canonicalize_dtype(name)) != name:
        raise WeightsError(
            f"dtype {name} needs JAX with 64 bits: jax.config.update('jax_enable_x64', True)"
        )
    return name


def abstract_model(model: type[_Model], *arguments: Any, **options: Any) -> _Model:
    """Returns a new model whose parameters have shapes instead of values."""
    state = _abstract_state(model, arguments, tuple(options.items()))
    merged: _Model = nnx.merge(*state, copy=True)
    return merged


# Cached, because tracing a model takes longer than filling a small one.
@functools.lru_cache(maxsize=16)
def _abstract_state(
    model: Callable[..., nnx.Module],
    arguments: tuple[Any, ...],
    options: tuple[tuple[str, Any], ...],
) -> Any:
    return nnx.split(nnx.eval_shape(lambda: model(*arguments, **dict(options), rngs=nnx.Rngs(0))))


def _fill(params: Mapping[str, Any], arrays: Arrays, dtype: DTypeLike) -> None:
    expected_dtype = dtype_name(dtype)
    check_arrays(arrays, _shapes(params), expected_dtype)
    for name, param in params.items():
        value = arrays[name]
        # JAX may keep using the memory that it is given, so the array must not be shared.
        array = value.read() if isinstance(value, StoredTensor) else np.array(value)
        check_finite(name, array)
        # Unlike `jnp.array`, `device_put` makes no copy besides the one on the device.
        param.set_value(jax.device_put(_layout_change(name)(array)))


def _extract(
    params: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Float[np.ndarray, "..."]]:
    arrays = {
        name: np.ascontiguousarray(_layout_change(name)(np.asarray(param[...])))
        for name, param in params.items()
    }
    check_arrays(arrays, shapes, dtype_name(next(iter(arrays.values())).dtype))
    for name, array in arrays.items():
        check_finite(name, array)
    return arrays


def _cnn_params(model: CNN) -> dict[str, Any]:
    return {
        f"{name}/{part}": getattr(layer, part)
        for name, layer in model.layers.items()
        for part in ("kernel", "bias")
    }


def _mlp_params(model: MLP) -> dict[str, Any]:
    return {
        f"{name}.{torch_part}": getattr(layer, flax_part)
        for name, layer in model.layers.items()
        for torch_part, flax_part in (("weight", "kernel"), ("bias", "bias"))
    }


def _layout_change(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Converts between Flax's layout and the original's, both ways; PyTorch has outputs first."""
    return np.transpose if name.endswith(".weight") else np.asarray


def _shapes(params: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(reversed(param.shape)) if name.endswith(".weight") else tuple(param.shape)
        for name, param in params.items()
    }


def _check_names(arrays: Mapping[str, Any], names: Collection[str]) -> None:
    if missing := [name for name in names if name not in arrays]:
        raise WeightsError(f"{missing[0]} is missing; found {_format_names(arrays)}")
    if surplus := [name for name in arrays if name not in names]:
        raise WeightsError(
            f"{surplus[0]} is not part of the network, which has {_format_names(names)}"
        )


def _format_names(names: Collection[str]) -> str:
    # Shortened, because a hostile file may contain many long names.
    shown = ", ".join(str(name)[:80] for name in list(names)[:20])
    return f"{shown or 'nothing'}{', …' if len(names) > 20 else ''}"


def shape_of(arrays: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Returns the shape of an array, or of a tensor that is not read from its file yet."""
    value = arrays[name]
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise WeightsError(f"{name} is of the type {type(value).__name__}; expected an array")
    return tuple(value.shape)


def _axis_size(arrays: Mapping[str, Any], name: str, axis: int) -> int:
    shape = shape_of(arrays, name)
    if len(shape) != 2:
        raise WeightsError(f"{name} has shape {shape}; expected two axes")
    return int(shape[axis])


def check_num_classes(found: int) -> int:
    """Returns the number of classes if a network may have that many.

    Raises:
        WeightsError: If there are none or more than `MAX_CLASSES`.
    """
    if not 1 <= found <= MAX_CLASSES:
        raise WeightsError(f"the last layer has {found} classes; expected 1 to {MAX_CLASSES}")
    return found


def check_finite(name: str, array: Float[np.ndarray, "..."]) -> None:
    """Checks that all weights are finite.

    Raises:
        WeightsError: For the first weight that is not.
    """
    # Minimum and maximum are NaN if any value is; checking them needs no array of booleans.
    with np.errstate(invalid="ignore"):
        if array.size == 0 or (np.isfinite(array.min()) and np.isfinite(array.max())):
            return
    index = tuple(int(i) for i in np.unravel_index(np.argmin(np.isfinite(array)), array.shape))
    raise WeightsError(f"{name} is {array[index]} at {list(index)}; weights must be finite")
