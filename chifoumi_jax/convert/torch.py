"""Converts the perceptrons from and to PyTorch."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from chifoumi_jax.convert.arrays import check_arrays, dtype_name, mlp_from_arrays, mlp_to_arrays
from chifoumi_jax.convert.untrusted.errors import WeightsError, error_context
from chifoumi_jax.convert.untrusted.limits import MAX_TORCH_BYTES
from chifoumi_jax.convert.untrusted.safetensors import read_safetensors
from chifoumi_jax.convert.untrusted.source import TORCH_SUFFIXES, FileFormat, open_weights
from chifoumi_jax.convert.untrusted.stored import StoredTensor
from chifoumi_jax.convert.untrusted.torch_file import read_torch
from chifoumi_jax.files import write_atomically
from chifoumi_jax.models import MLP

_T = TypeVar("_T")

_MODULE_LABEL = "the PyTorch model"
_STATE_DICT_LABEL = "the state dict"
_SUFFIX = ".safetensors"


@runtime_checkable
class TorchModule(Protocol):
    """What a PyTorch module must offer; PyTorch itself is not imported."""

    def state_dict(self) -> Mapping[str, Any]:
        """Returns its tensors by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Copies such tensors into the module."""


def from_torch(
    source: str | os.PathLike[str] | Mapping[str, Any] | TorchModule,
    *,
    relu_logits: bool = False,
    dropout_rate: float = 0.2,
    dtype: DTypeLike = jnp.float32,
) -> MLP:
    """Builds the perceptron from the weights of a PyTorch model, bit for bit.

    A file is checked before it is used, and nothing in it is run. PyTorch is imported only for a
    `.pt` or `.pth` file.

    Args:
        source: A `.pt`, `.pth` or `.safetensors` file of a state dict (in a `.pt`, also under the
            key `state_dict` or `model_state_dict`), a state dict, or a module. Its tensors must be
            the study's `fc1.weight`, `fc1.bias`, … `fc3.bias`, for any number of classes.
        relu_logits: True for the study's version 2.1; the weights do not say it.
        dropout_rate: The model's dropout rate; the weights do not say it either.
        dtype: The dtype of the weights, float32 or float64; they are not converted.

    Raises:
        WeightsError: If the file is damaged, hostile or of another format, or holds another model.
    """
    wanted = dtype_name(dtype)

    def build(tensors: Mapping[str, Any]) -> MLP:
        arrays = {name: as_stored(name, tensor) for name, tensor in tensors.items()}
        return mlp_from_arrays(arrays, wanted, relu_logits=relu_logits, dropout_rate=dropout_rate)

    return build_from_torch(source, build)


def build_from_torch(
    source: str | os.PathLike[str] | Mapping[str, Any] | TorchModule,
    build: Callable[[Mapping[str, Any]], _T],
) -> _T:
    """Returns the result of `build` on the tensors of a file, a state dict or a module.

    Raises:
        WeightsError: If the file cannot be read, or `build` raises it; the source is named.
        TypeError: If the source is none of these.
    """
    if isinstance(source, str | os.PathLike):
        with (
            error_context(os.fspath(source)),
            open_weights(source, TORCH_SUFFIXES, MAX_TORCH_BYTES) as opened,
        ):
            file, file_format = opened
            if file_format is FileFormat.SAFETENSORS:
                return build(read_safetensors(file))
            return build(read_torch(file, file_format))
    if isinstance(source, Mapping):
        with error_context(_STATE_DICT_LABEL):
            return build(source)
    if isinstance(source, TorchModule):
        with error_context(_MODULE_LABEL):
            return build(source.state_dict())
    raise TypeError(
        f"expected a path, a state dict or a PyTorch module, not a {type(source).__name__}"
    )


def to_torch(model: MLP, target: str | os.PathLike[str] | TorchModule) -> None:
    """Writes the perceptron's weights, bit for bit, to a file for PyTorch or into a module.

    Args:
        model: The perceptron.
        target: A `.safetensors` file, or a PyTorch module. An existing file is replaced only once
            the new one is complete; a module changes only if all weights fit.

    Raises:
        WeightsError: If the weights are not finite, the file cannot be written, or the module does
            not have the same tensors.
    """
    if isinstance(target, str | os.PathLike):
        with error_context(os.fspath(target)):
            _to_file(model, Path(target))
    elif isinstance(target, TorchModule):
        with error_context(_MODULE_LABEL):
            _to_module(model, target)
    else:
        raise TypeError(f"expected a path or a PyTorch module, not a {type(target).__name__}")


def _to_file(model: MLP, path: Path) -> None:
    from safetensors.numpy import save

    if path.suffix != _SUFFIX:
        raise WeightsError(f"the name must end in {_SUFFIX}; pickles are not written")
    write_atomically(path, save(mlp_to_arrays(model), metadata={"format": "pt"}))


def _to_module(model: MLP, module: TorchModule) -> None:
    arrays = mlp_to_arrays(model)
    present = {name: as_stored(name, tensor) for name, tensor in module.state_dict().items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    check_arrays(present, shapes, str(arrays["fc1.weight"].dtype))
    # PyTorch is already imported, because the caller has a module of it.
    torch: Any = sys.modules["torch"]
    module.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})


def as_stored(name: str, tensor: Any) -> Any:
    """Wraps a PyTorch tensor so that it is read when needed; returns anything else unchanged."""
    if not hasattr(tensor, "detach"):
        return tensor
    if str(tensor.layout) != "torch.strided" or str(tensor.device) == "meta":
        raise WeightsError(f"{name} is sparse, or holds no values; expected a plain tensor")

    def read() -> np.ndarray:
        try:
            return np.array(tensor.detach().cpu().numpy())
        except (RuntimeError, TypeError) as error:
            raise WeightsError(f"{name} cannot be read: {error}") from error

    return StoredTensor(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), read)
