"""Converts the CNN from and to Keras."""

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from chifoumi_jax.convert.arrays import (
    CNN_NAMES,
    check_arrays,
    cnn_from_arrays,
    cnn_to_arrays,
    dtype_name,
)
from chifoumi_jax.convert.keras_config import Network, check_config
from chifoumi_jax.convert.keras_layout import IGNORED_GROUPS, V3_PATHS, find_weights
from chifoumi_jax.convert.untrusted.archive import open_archive
from chifoumi_jax.convert.untrusted.errors import WeightsError, error_context
from chifoumi_jax.convert.untrusted.hdf5.tree import Tree
from chifoumi_jax.convert.untrusted.limits import (
    MAX_IMAGE_SIZE,
    MAX_JSON_BYTES,
    MAX_KERAS_BYTES,
    OPTIMIZER_COPIES,
    OVERHEAD_BYTES,
)
from chifoumi_jax.convert.untrusted.source import KERAS_SUFFIXES, FileFormat, open_weights
from chifoumi_jax.convert.untrusted.strict_json import parse
from chifoumi_jax.files import replacing
from chifoumi_jax.models import CNN, count_params
from chifoumi_jax.models.cnn import MIN_IMAGE_SIZE

_MODEL_LABEL = "the Keras model"
_WEIGHTS_SUFFIX = ".weights.h5"
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_ENTRIES = ("metadata.json", _CONFIG, _WEIGHTS)


@runtime_checkable
class KerasLayer(Protocol):
    """What a layer of a Keras model must offer."""

    def get_weights(self) -> list[Any]:
        """Returns its weights as NumPy arrays."""

    def set_weights(self, weights: list[Any]) -> None:
        """Copies such arrays into the layer."""


@runtime_checkable
class KerasModel(Protocol):
    """What a Keras model must offer; Keras itself is not imported."""

    @property
    def layers(self) -> Iterable[KerasLayer]:
        """Its layers, in order."""

    def to_json(self) -> str:
        """Returns its configuration."""


def from_keras(
    source: str | os.PathLike[str] | KerasModel,
    *,
    image_size: int | None = None,
    dtype: DTypeLike = jnp.float32,
) -> CNN:
    """Builds the CNN from the weights of a Keras model, bit for bit.

    A file is checked before it is used. Nothing in it is run, no other file is reached through it,
    and memory is allocated for what the network needs, not for what the file claims.

    Args:
        source: A model, or a file saved by Keras 3 or 2.2.4: `.keras`, or `.weights.h5` or `.h5`
            with or without the model. It must be the study's network, for any image size and
            number of classes; layers may have any names.
        image_size: Height and width in pixels. The default comes from the model's configuration;
            without one it is 600 if the weights fit it, otherwise the smallest size that they fit.
        dtype: The dtype of the weights, float32 or float64; they are not converted.

    Raises:
        WeightsError: If the file is damaged, hostile or of another format, or holds another model.
    """
    wanted = dtype_name(dtype)
    if isinstance(source, str | os.PathLike):
        with (
            error_context(os.fspath(source)),
            open_weights(source, KERAS_SUFFIXES, MAX_KERAS_BYTES) as opened,
        ):
            file, file_format = opened
            read = _from_archive if file_format is FileFormat.ZIP else _from_hdf5
            return read(file, image_size, wanted)
    if isinstance(source, KerasModel):
        with error_context(_MODEL_LABEL):
            return _from_model(source, image_size, wanted)
    raise TypeError(f"expected a path or a Keras model, not a {type(source).__name__}")


def to_keras(model: CNN, target: str | os.PathLike[str] | KerasModel) -> None:
    """Writes the CNN's weights, bit for bit, to a file for Keras' `load_weights` or into a model.

    Args:
        model: The CNN.
        target: A `.weights.h5` file, or a Keras model. An existing file is replaced only once the
            new one is complete; a model changes only if all weights fit.

    Raises:
        WeightsError: If the weights are not finite, the file cannot be written, or the model is not
            the same network.
    """
    if isinstance(target, str | os.PathLike):
        with error_context(os.fspath(target)):
            _to_file(model, Path(target))
    elif isinstance(target, KerasModel):
        with error_context(_MODEL_LABEL):
            _to_model(model, target)
    else:
        raise TypeError(f"expected a path or a Keras model, not a {type(target).__name__}")


def _from_archive(file: BinaryIO, image_size: int | None, dtype: str) -> CNN:
    with open_archive(file, MAX_KERAS_BYTES) as archive:
        for name in archive.names:
            if name not in _ENTRIES:
                raise WeightsError(f"its entry {name!r} is not one of {', '.join(_ENTRIES)}")
        config = parse(archive.read(_CONFIG, MAX_JSON_BYTES), _CONFIG)
        network = check_config(config, dtype)
        size = _image_size(network, image_size)
        if size is None:
            raise WeightsError(f"{_CONFIG} does not say the image size: give image_size")
        content = archive.read(_WEIGHTS, _max_weights_bytes(size, network.num_classes, dtype))
    with error_context(_WEIGHTS):
        return _from_hdf5(io.BytesIO(content), size, dtype, network)


def _from_hdf5(
    file: BinaryIO, image_size: int | None, dtype: str, network: Network | None = None
) -> CNN:
    tree = Tree(file, ignored=IGNORED_GROUPS)
    text = tree.strings("", "model_config")
    if network is None and text is not None:
        if len(text) != 1:
            raise WeightsError(f"model_config holds {len(text)} strings; expected one")
        network = check_config(parse(text[0].encode(), "model_config"), dtype)
    weights = find_weights(tree)
    if network is None:
        return cnn_from_arrays(weights.tensors, image_size, dtype)
    if weights.layers not in (None, network.layers):
        raise WeightsError(
            f"it has weights for the layers {weights.layers}, "
            f"but its configuration has {network.layers}"
        )
    return _from_tensors(weights.tensors, network, image_size, dtype)


def _from_model(model: KerasModel, image_size: int | None, dtype: str) -> CNN:
    network = _network_of(model, dtype)
    return _from_tensors(_weights_of(model), network, image_size, dtype)


def _from_tensors(tensors: Any, network: Network, image_size: int | None, dtype: str) -> CNN:
    size = _image_size(network, image_size)
    model = cnn_from_arrays(tensors, size, dtype, network.dropout_rate)
    if model.num_classes != network.num_classes:
        raise WeightsError(
            f"dense_2/kernel is for {model.num_classes} classes, "
            f"but the configuration has {network.num_classes}"
        )
    return model


def _to_file(model: CNN, path: Path) -> None:
    import h5py

    if not path.name.endswith(_WEIGHTS_SUFFIX):
        raise WeightsError(
            f"the name must end in {_WEIGHTS_SUFFIX}; Keras loads weights from no other files"
        )
    arrays = cnn_to_arrays(model)
    with replacing(path) as file, h5py.File(file, "w") as hdf5:
        # Keras before 3.6 expects this empty group.
        hdf5.create_group("vars")
        for dataset_path, array in zip(V3_PATHS, arrays.values(), strict=True):
            hdf5.create_dataset(dataset_path, data=array)


def _to_model(model: CNN, target: KerasModel) -> None:
    arrays = cnn_to_arrays(model)
    dtype = str(arrays[CNN_NAMES[0]].dtype)
    network = _network_of(target, dtype)
    if network.image_size not in (None, model.image_size):
        raise WeightsError(
            f"it takes images of {network.image_size} pixels; expected {model.image_size}"
        )
    shapes = {name: array.shape for name, array in arrays.items()}
    check_arrays(_weights_of(target), shapes, dtype)
    values = list(arrays.values())
    for layer in target.layers:
        if count := len(layer.get_weights()):
            layer.set_weights(values[:count])
            del values[:count]


def _network_of(model: KerasModel, dtype: str) -> Network:
    try:
        text = model.to_json()
    except (NotImplementedError, TypeError, ValueError) as error:
        raise WeightsError(f"it has no configuration: {error}") from error
    return check_config(parse(text.encode(), "its configuration"), dtype)


def _weights_of(model: KerasModel) -> dict[str, np.ndarray]:
    arrays = [array for layer in model.layers for array in layer.get_weights()]
    if len(arrays) != len(CNN_NAMES):
        raise WeightsError(
            f"it has {len(arrays)} weights; expected {len(CNN_NAMES)}. "
            "If it is not built yet, build it: model.build((None, size, size, 3))"
        )
    return dict(zip(CNN_NAMES, arrays, strict=True))


def _image_size(network: Network, requested: int | None) -> int | None:
    if requested is not None and not MIN_IMAGE_SIZE <= requested <= MAX_IMAGE_SIZE:
        raise WeightsError(
            f"image_size is {requested}; expected {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE}"
        )
    if network.image_size is None:
        return requested
    if requested not in (None, network.image_size):
        raise WeightsError(
            f"image_size={requested} was given, but the model takes {network.image_size} pixels; "
            "leave the argument out"
        )
    return network.image_size


def _max_weights_bytes(image_size: int, num_classes: int, dtype: str) -> int:
    """Returns the largest size of a network's weights file, optimiser state included."""
    model = nnx.eval_shape(lambda: CNN(image_size, num_classes, rngs=nnx.Rngs(0)))
    weights = count_params(model) * np.dtype(dtype).itemsize
    return (1 + OPTIMIZER_COPIES) * weights + OVERHEAD_BYTES
