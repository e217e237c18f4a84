"""Weights for tests: arrays, the originals' models, and files in the originals' formats."""

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from chifoumi_jax import CNN, MLP
from chifoumi_jax.convert.arrays import cnn_from_arrays, mlp_from_arrays
from chifoumi_jax.models.cnn import features_size

Arrays = dict[str, np.ndarray]
LAYERS = ("conv2d_1", "conv2d_2", "conv2d_3", "dense_1", "dense_2")


def cnn_arrays(
    image_size: int = 22, num_classes: int = 3, seed: int = 0, dtype: str = "float32"
) -> Arrays:
    """Weights of the CNN; some are −0, the smallest denormal or the largest numbers."""
    rows = features_size(image_size) ** 2 * 64
    kernels = [(3, 3, 3, 32), (3, 3, 32, 32), (3, 3, 32, 64), (rows, 64), (64, num_classes)]
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, kernel in zip(LAYERS, kernels, strict=True):
        shapes |= {f"{layer}/kernel": kernel, f"{layer}/bias": kernel[-1:]}
    return _draw(shapes, -1, seed, dtype)


def mlp_arrays(num_classes: int = 3, seed: int = 0, dtype: str = "float32") -> Arrays:
    """Weights of the perceptron; some are the same extreme values."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, kernel in {"fc1": (64, 1024), "fc2": (32, 64), "fc3": (num_classes, 32)}.items():
        shapes |= {f"{layer}.weight": kernel, f"{layer}.bias": kernel[:1]}
    return _draw(shapes, 0, seed, dtype)


def _draw(shapes: Mapping[str, tuple[int, ...]], outputs: int, seed: int, dtype: str) -> Arrays:
    random = np.random.default_rng(seed)
    limits = np.finfo(dtype)
    arrays = {}
    for name, shape in shapes.items():
        # This scale keeps the activations from vanishing or growing.
        scale = (2 * shape[outputs] / math.prod(shape)) ** 0.5
        array = arrays[name] = random.normal(0, scale, shape).astype(dtype)
        if array.ndim > 1:
            extreme_values = [-0.0, limits.smallest_subnormal, limits.max, limits.min]
            array[(0,) * (array.ndim - 1)][: len(extreme_values)] = extreme_values[
                : array.shape[-1]
            ]
    return arrays


def without_extremes(arrays: Arrays) -> Arrays:
    """Clips the largest numbers, so that a network can compute with the weights."""
    return {name: np.clip(array, -1, 1) for name, array in arrays.items()}


def cnn(image_size: int = 22, num_classes: int = 3, seed: int = 0) -> CNN:
    """A CNN with such weights."""
    return cnn_from_arrays(cnn_arrays(image_size, num_classes, seed), image_size)


def mlp(num_classes: int = 3, seed: int = 0) -> MLP:
    """A perceptron with such weights."""
    return mlp_from_arrays(mlp_arrays(num_classes, seed))


def assert_same_bits(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Compares names and their order, shapes, dtypes and all bits."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype), name
        assert found[name].tobytes() == array.tobytes(), name


# Keras


def keras_model(
    image_size: int = 22,
    num_classes: int = 3,
    *,
    functional: bool = False,
    softmax: bool = True,
    dropout: float | None = 0.5,
    input_layer: bool = True,
) -> Any:
    """The study's network in Keras: activations are layers if Sequential, fused if functional."""
    from keras import Input, Model, Sequential, layers

    first: list[Any] = [Input((image_size, image_size, 3))] if input_layer else []
    rest: list[Any] = []
    for filters in (32, 32, 64):
        if functional:
            rest.append(layers.Conv2D(filters, 3, activation="relu"))
        else:
            rest += [layers.Conv2D(filters, (3, 3)), layers.Activation("relu")]
        rest.append(layers.MaxPooling2D((2, 2)))
    rest += [layers.Flatten(), layers.Dense(64)]
    rest.append(layers.ReLU() if functional else layers.Activation("relu"))
    rest += [] if dropout is None else [layers.Dropout(dropout)]
    rest.append(layers.Dense(num_classes, activation="softmax" if softmax else None, name="out"))
    if not functional:
        return Sequential(first + rest)
    (tensor,) = first
    for layer in rest:
        tensor = layer(tensor)
    return Model(first[0], tensor)


def set_keras(model: Any, arrays: Arrays) -> Any:
    """Sets these weights; returns the model."""
    model.set_weights(list(arrays.values()))
    return model


def keras_config(
    image_size: int = 22, *, functional: bool = False, legacy: bool = False
) -> dict[str, Any]:
    """A configuration as Keras 3 or 2.2.4 writes it, with only the entries that are checked."""
    kinds: list[tuple[str, dict[str, Any]]] = []
    for filters in (32, 32, 64):
        conv = {
            "filters": filters,
            "kernel_size": [3, 3],
            "strides": [1, 1],
            "padding": "valid",
            "data_format": "channels_last",
            "dilation_rate": [1, 1],
            "activation": "linear",
            "use_bias": True,
        }
        pool = {
            "pool_size": [2, 2],
            "padding": "valid",
            "strides": [2, 2],
            "data_format": "channels_last",
        }
        kinds += [("Conv2D", conv), ("Activation", {"activation": "relu"}), ("MaxPooling2D", pool)]
    dense = {"units": 64, "activation": "linear", "use_bias": True}
    kinds += [("Flatten", {"data_format": "channels_last"}), ("Dense", dense)]
    kinds += [("Activation", {"activation": "relu"}), ("Dropout", {"rate": 0.5})]
    kinds += [("Dense", dense | {"units": 3}), ("Activation", {"activation": "softmax"})]
    layers: list[dict[str, Any]] = []
    for number, (kind, settings) in enumerate(kinds):
        settings = {"name": f"{kind.lower()}_{number}"} | settings
        if legacy and number == 0:
            settings["batch_input_shape"] = [None, image_size, image_size, 3]
        origin = {} if legacy else {"module": "keras.layers", "registered_name": None}
        layers.append({"class_name": kind, "config": settings} | origin)
    if not legacy:
        shape = [None, image_size, image_size, 3]
        entry = {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": shape}}
        layers.insert(0, entry)
    body: dict[str, Any] = {"name": "net", "layers": layers}
    if functional:
        body |= _chain(layers, legacy)
    kind = ("Model" if legacy else "Functional") if functional else "Sequential"
    return {"class_name": kind, "config": body}


def _chain(layers: list[dict[str, Any]], legacy: bool) -> dict[str, Any]:
    names = [layer["config"]["name"] for layer in layers]
    for layer, before in zip(layers, [None, *names], strict=False):
        history = {"class_name": "__keras_tensor__", "config": {"keras_history": [before, 0, 0]}}
        node = [[before, 0, 0, {}]] if legacy else {"args": [history], "kwargs": {}}
        layer["inbound_nodes"] = [] if before is None else [node]
    ends = {"input_layers": names[0], "output_layers": names[-1]}
    return {key: [[name, 0, 0]] if legacy else [name, 0, 0] for key, name in ends.items()}


def write_v3(path: Path, arrays: Arrays, **options: Any) -> Path:
    """Writes a weights file like Keras 3."""
    with h5py.File(path, "w", **options) as file:
        file.create_group("vars")
        for layer in ("activation", "dropout", "flatten", "max_pooling2d"):
            file.create_group(f"layers/{layer}/vars").attrs["name"] = layer
        names = ("conv2d", "conv2d_1", "conv2d_2", "dense", "dense_1")
        for name, layer in zip(names, LAYERS, strict=True):
            file[f"layers/{name}/vars/0"] = arrays[f"{layer}/kernel"]
            file[f"layers/{name}/vars/1"] = arrays[f"{layer}/bias"]
    return path


def write_legacy(
    path: Path, arrays: Arrays, config: dict[str, Any] | None = None, *, as_text: bool = False
) -> Path:
    """Writes a file like Keras 2.2.4: a model if there is a configuration, otherwise only weights.

    Attributes are bytes of fixed length, or strings of variable length (`as_text`) as in Keras 3.
    """
    entries = (config or keras_config(legacy=True))["config"]["layers"]
    names = [entry["config"]["name"] for entry in entries]
    layers_with_weights = [
        e["config"]["name"] for e in entries if e["class_name"] in ("Conv2D", "Dense")
    ]

    def as_attribute(texts: list[str]) -> Any:
        if not texts:
            return np.array([], np.float64)
        return np.array(texts, object) if as_text else np.array([t.encode() for t in texts])

    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if config else file
        for group in {file, root}:
            group.attrs["backend"] = "tensorflow" if as_text else b"tensorflow"
            group.attrs["keras_version"] = "2.2.4" if as_text else b"2.2.4"
        if config:
            text = json.dumps(config)
            file.attrs["model_config"] = text if as_text else np.bytes_(text.encode())
            file.create_group("optimizer_weights/Adam")["m"] = np.zeros(7)
        root.attrs["layer_names"] = as_attribute(names)
        for name in names:
            group = root.create_group(name)
            parts = []
            if name in layers_with_weights:
                layer = LAYERS[layers_with_weights.index(name)]
                for part in ("kernel", "bias"):
                    parts.append(f"{name}_1/{part}:0")
                    group[parts[-1]] = arrays[f"{layer}/{part}"]
            group.attrs["weight_names"] = as_attribute(parts)
    return path


def write_keras(
    path: Path,
    arrays: Arrays,
    config: Any = None,
    change: Callable[[dict[str, bytes]], Any] = lambda entries: None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Writes a `.keras` file like Keras 3; `change` may modify its entries."""
    weights = io.BytesIO()
    write_v3(weights, arrays)  # type: ignore[arg-type]
    entries = {
        "metadata.json": b'{"keras_version": "3.15.1"}',
        "config.json": json.dumps(keras_config() if config is None else config).encode(),
        "model.weights.h5": weights.getvalue(),
    }
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


# PyTorch


def torch_module(num_classes: int = 3, arrays: Arrays | None = None) -> Any:
    """The study's perceptron in PyTorch."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = torch.nn.Linear(1024, 64)
            self.fc2 = torch.nn.Linear(64, 32)
            self.fc3 = torch.nn.Linear(32, num_classes)

        def forward(self, images: Any) -> Any:
            x = torch.relu(self.fc1(images.flatten(1)))
            return self.fc3(torch.relu(self.fc2(x)))

    module = Net()
    if arrays is not None:
        module.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    return module


def torch_arrays(module: Any) -> Arrays:
    """Returns a module's tensors."""
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}
