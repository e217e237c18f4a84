"""The perceptrons from PyTorch and back."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from chifoumi_jax.convert.arrays import check_arrays, dtype_name, mlp_from_arrays, mlp_to_arrays
from chifoumi_jax.convert.untrusted.errors import WeightsError, about
from chifoumi_jax.convert.untrusted.limits import MAX_TORCH_BYTES
from chifoumi_jax.convert.untrusted.safetensors import read_safetensors
from chifoumi_jax.convert.untrusted.source import TORCH_SUFFIXES, Kind, opened
from chifoumi_jax.convert.untrusted.stored import Stored
from chifoumi_jax.convert.untrusted.torch_file import read_torch
from chifoumi_jax.files import write_atomically
from chifoumi_jax.models import MLP

_T = TypeVar("_T")

_LIVE = "the PyTorch model"
_STATE_DICT = "the state dict"
_SUFFIX = ".safetensors"


@runtime_checkable
class TorchModule(Protocol):
    """What is asked of a PyTorch module; PyTorch itself is not imported."""

    def state_dict(self) -> Mapping[str, Any]:
        """Its tensors by name."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any:
        """Takes such tensors over."""


def from_torch(
    source: str | os.PathLike[str] | Mapping[str, Any] | TorchModule,
    *,
    relu_logits: bool = False,
    dropout_rate: float = 0.2,
    dtype: DTypeLike = jnp.float32,
) -> MLP:
    """The perceptron with the weights of a PyTorch model, bit for bit.

    A file's content is checked before it is believed, and nothing in it is run. Only a `.pt` or
    `.pth` file needs PyTorch, which is then imported.

    Args:
        source: A `.pt`, `.pth` or `.safetensors` file of a state dict (in a `.pt`, also under the
            key `state_dict` or `model_state_dict`), a state dict, or a module. Its tensors must be
            the study's `fc1.weight`, `fc1.bias`, … `fc3.bias`, for any number of classes.
        relu_logits: True for the study's version 2.1, which the weights do not tell.
        dropout_rate: The model's, which the weights do not tell either.
        dtype: The type of the weights, float32 or float64; they are not converted.

    Raises:
        WeightsError: If the file is damaged, hostile or of another kind, or the model another one.
    """
    wanted = dtype_name(dtype)

    def build(tensors: Mapping[str, Any]) -> MLP:
        arrays = {name: stored(name, tensor) for name, tensor in tensors.items()}
        return mlp_from_arrays(arrays, wanted, relu_logits=relu_logits, dropout_rate=dropout_rate)

    return built(source, build)


def built(
    source: str | os.PathLike[str] | Mapping[str, Any] | TorchModule,
    build: Callable[[Mapping[str, Any]], _T],
) -> _T:
    """What `build` makes of the tensors of a file, a state dict or a module.

    Raises:
        WeightsError: If the file cannot be read, or from `build`, with the source's name.
        TypeError: If the source is none of these.
    """
    if isinstance(source, str | os.PathLike):
        with about(os.fspath(source)), opened(source, TORCH_SUFFIXES, MAX_TORCH_BYTES) as found:
            file, kind = found
            if kind is Kind.SAFETENSORS:
                return build(read_safetensors(file))
            return build(read_torch(file, kind))
    if isinstance(source, Mapping):
        with about(_STATE_DICT):
            return build(source)
    if isinstance(source, TorchModule):
        with about(_LIVE):
            return build(source.state_dict())
    raise TypeError(
        f"expected a path, a state dict or a PyTorch module, not a {type(source).__name__}"
    )


def to_torch(model: MLP, target: str | os.PathLike[str] | TorchModule) -> None:
    """Write the perceptron's weights, bit for bit, for PyTorch, or into a module.

    Args:
        model: The perceptron.
        target: A `.safetensors` file, replaced if it exists, but not before the new one is
            complete; or a PyTorch module, which changes only if all of it fits.

    Raises:
        WeightsError: If the weights are not finite, the file cannot be written, or the module does
            not have the same tensors.
    """
    if isinstance(target, str | os.PathLike):
        with about(os.fspath(target)):
            _to_file(model, Path(target))
    elif isinstance(target, TorchModule):
        with about(_LIVE):
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
    present = {name: stored(name, tensor) for name, tensor in module.state_dict().items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    check_arrays(present, shapes, str(arrays["fc1.weight"].dtype))
    # Whoever has a module of PyTorch has imported it.
    torch: Any = sys.modules["torch"]
    module.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})


def stored(name: str, tensor: Any) -> Any:
    """A PyTorch tensor that is read when it is needed; anything else as it is."""
    if not hasattr(tensor, "detach"):
        return tensor
    if str(tensor.layout) != "torch.strided" or str(tensor.device) == "meta":
        raise WeightsError(f"{name} is sparse, or holds no values; expected a plain tensor")

    def read() -> np.ndarray:
        try:
            return np.array(tensor.detach().cpu().numpy())
        except (RuntimeError, TypeError) as error:
            raise WeightsError(f"{name} cannot be read: {error}") from error

    return Stored(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), read)
