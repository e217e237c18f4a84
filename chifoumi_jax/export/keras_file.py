"""Export to Keras 3 (`.keras`) with Keras' own layers and operations, for any of its backends.

`keras.saving.load_model("model.keras").predict(images)` gives the probabilities of float32 images
[batch, height, width, 3] (gray: [batch, height, width]) in [0, 1].
"""

import json
import math
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chifoumi_jax.export.network import NetworkDescription, walk
from chifoumi_jax.export.quiet_keras import keras, layers, ops
from chifoumi_jax.export.verify import Outputs, Runner
from chifoumi_jax.models.description import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Mean,
    Residual,
    Scale,
    flat,
)

_METADATA = "metadata.json"
_LAST_LAYER = "probabilities"


class _KerasOperations:
    """`Operations` as Keras' layers."""

    def standardize(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """See `Operations`."""
        centred = images - _mean(images, (2, 1))
        deviation = ops.sqrt(_mean(ops.square(centred), (2, 1, 3)))
        return centred / (deviation + 1e-3)

    def with_mirror_images(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """See `Operations`."""
        return ops.concatenate([images, ops.flip(images, axis=2)], axis=0)

    def conv(self, images: keras.KerasTensor, layer: Conv) -> keras.KerasTensor:
        """See `Operations`."""
        settings = {
            "strides": layer.stride,
            "padding": "same" if layer.same else "valid",
            "activation": layer.activation,
            "name": layer.name,
        }
        kernel_size = layer.kernel.shape[0]
        if layer.depthwise:
            return layers.DepthwiseConv2D(kernel_size, **settings)(images)
        return layers.Conv2D(layer.kernel.shape[3], kernel_size, **settings)(images)

    def dense(self, values: keras.KerasTensor, layer: Dense) -> keras.KerasTensor:
        """See `Operations`."""
        units = layer.kernel.shape[1]
        return layers.Dense(units, activation=layer.activation, name=layer.name)(values)

    def scale(self, images: keras.KerasTensor, layer: Scale) -> keras.KerasTensor:
        """See `Operations`."""
        return layers.Rescaling(layer.factor, layer.offset, name=layer.name)(images)

    def max_pool(self, images: keras.KerasTensor, layer: MaxPool) -> keras.KerasTensor:
        """See `Operations`."""
        return layers.MaxPooling2D(name=layer.name)(images)

    def mean(self, images: keras.KerasTensor, layer: Mean) -> keras.KerasTensor:
        """See `Operations`."""
        return layers.GlobalAveragePooling2D(name=layer.name)(images)

    def flatten(self, images: keras.KerasTensor, layer: Flatten) -> keras.KerasTensor:
        """See `Operations`."""
        return layers.Flatten(name=layer.name)(images)

    def dropout(self, values: keras.KerasTensor, layer: Dropout) -> keras.KerasTensor:
        """See `Operations`."""
        return layers.Dropout(layer.rate, name=layer.name)(values)

    def add(
        self, images: keras.KerasTensor, others: keras.KerasTensor, layer: Residual
    ) -> keras.KerasTensor:
        """See `Operations`."""
        return layers.Add(name=layer.name)([images, others])

    def mean_of_halves(self, logits: keras.KerasTensor) -> keras.KerasTensor:
        """See `Operations`."""
        halves = ops.reshape(ops.log_softmax(logits), (2, -1, logits.shape[1]))
        return ops.logsumexp(halves, axis=0) - math.log(2)

    def divide(self, logits: keras.KerasTensor, temperature: float) -> keras.KerasTensor:
        """See `Operations`."""
        return layers.Rescaling(1 / temperature, name="temperature")(logits)

    def softmax(self, logits: keras.KerasTensor) -> keras.KerasTensor:
        """See `Operations`."""
        return layers.Activation("softmax", name=_LAST_LAYER)(logits)


def _mean(values: keras.KerasTensor, axes: Sequence[int]) -> keras.KerasTensor:
    # One axis at a time, because TensorFlow sums an image's pixels one by one: in float32 a sum of
    # 22,500 values was off by 1e-4, a thousand times the error of all other operations.
    for axis in axes:
        values = ops.mean(values, axis=axis, keepdims=True)
    return values


def write(network: NetworkDescription, path: Path) -> None:
    """Write the network as a functional model; its `metadata.json` also has `network.metadata()`.

    Layers have the study's names. `chifoumi_jax.convert.from_keras` reads the study's own network
    back if no other operation comes before or after it.
    """
    images = keras.Input(network.input_shape, name="images")
    _, probabilities = walk(_KerasOperations(), network, images)
    model = keras.Model(images, probabilities, name=f"chifoumi_{network.recipe.replace('-', '_')}")
    for layer in flat(network.layers):
        if isinstance(layer, Conv | Dense):
            kernel = layer.kernel
            depthwise = isinstance(layer, Conv) and layer.depthwise
            weights = [kernel[..., None] if depthwise else kernel, layer.bias]
            model.get_layer(layer.name).set_weights(weights)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as name:
        original = Path(name) / "model.keras"
        model.save(original)
        with zipfile.ZipFile(original) as saved, zipfile.ZipFile(path, "w") as archive:
            for entry in saved.namelist():
                content = saved.read(entry)
                if entry == _METADATA:
                    metadata = json.loads(content) | {"chifoumi": network.metadata()}
                    content = json.dumps(metadata).encode()
                archive.writestr(entry, content)


class KerasRunner(Runner):
    """Runs the file in Keras, on the backend that Keras is configured for."""

    def __init__(self, path: Path):
        model = keras.saving.load_model(path)
        logits = model.get_layer(_LAST_LAYER).input
        self._model = keras.Model(model.inputs, [logits, model.outputs[0]])

    def predict(self, images: np.ndarray) -> Outputs:
        """See `Runner`."""
        return Outputs(*map(np.asarray, self._model.predict_on_batch(images)))
