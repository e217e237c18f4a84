"""The convolutional autoencoder in today's Keras and TensorFlow, as an original to compare with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from parity.system_case import Arrays, Step, SystemCase, SystemOriginal
from reference import conv_autoencoder, keras_2018


class ConvAutoencoderOriginal(SystemOriginal):
    """`reference.conv_autoencoder` with prescribed weights."""

    def __init__(self, case: SystemCase) -> None:
        self.case = case
        self.name = f"Keras {keras.__version__}"

    def initial(self, seed: int) -> Arrays:
        """The weights that Keras draws."""
        keras.utils.set_random_seed(seed)
        values = conv_autoencoder.build().get_weights()
        return dict(zip(self.case.weights, values, strict=True))

    def live(self, weights: Arrays) -> object:
        """A Keras model."""
        return _model(weights, "float32")

    def outputs(self, weights: Arrays, batch: Arrays, dtype: str) -> Arrays:
        """Each block's output, and the reconstruction."""
        model = _model(weights, dtype)
        ends = [f"batch_normalization_{2 * block}" for block in range(1, 8)]
        for block, name in ((1, "max_pooling2d_1"), (2, "max_pooling2d_2")):
            ends[block - 1] = name
        for block, name in ((6, "up_sampling2d_1"), (7, "up_sampling2d_2")):
            ends[block - 1] = name
        layers = [model.get_layer(name).output for name in ends]
        *blocks, output = keras.Model(model.input, [*layers, model.output])(
            _maps(batch["images"], dtype)
        )
        found = {f"block_{number}": np.asarray(value) for number, value in enumerate(blocks, 1)}
        return found | {"output": np.asarray(output)[..., 0]}

    def value_and_gradients(self, weights: Arrays, batch: Arrays, noise: Any, dtype: str) -> Arrays:
        """Mean squared error, gradients, and the moving statistics after the batch."""
        del noise
        model = _model(weights, dtype)
        images, targets = (_maps(batch[name], dtype) for name in ("images", "targets"))
        with tf.GradientTape() as tape:
            value = conv_autoencoder.loss(model, images, targets)
        variables = model.trainable_variables
        gradients = tape.gradient(value, [one.value for one in variables])
        named = {variable.path: one for variable, one in zip(variables, gradients, strict=True)}
        found = [named.get(variable.path, variable) for variable in model.weights]
        return {"loss": np.asarray(value), **_named(weights, found)}

    def optimise(self, weights: Arrays, gradients: Sequence[Arrays]) -> Arrays:
        """RMSprop with Keras 2.2.4's epsilon."""
        trained = [name for name in weights if "moving" not in name]
        variables = [keras.Variable(weights[name], dtype="float64") for name in trained]
        optimizer = keras_2018.RMSprop()
        optimizer.build(variables)
        for one in gradients:
            optimizer.apply([tf.constant(one[name]) for name in trained], variables)
        return _named(dict.fromkeys(trained), variables)

    def train(self, weights: Arrays, epochs: Iterable[Iterable[Step]]) -> Arrays:
        """The study's training in float64."""
        model = _model(weights, "float64")
        step, printed = conv_autoencoder.make_step(model), []
        for steps in epochs:
            losses, sizes = [], []
            for one in steps:
                maps = (_maps(one.batch[name], "float64") for name in ("images", "targets"))
                losses.append(float(step(*maps)))
                sizes.append(len(one.batch["images"]))
            printed.append(self.case.port.printed(np.array(losses), sizes))
        return {"loss": np.array(printed), **_named(weights, model.weights)}


def _model(weights: Arrays, dtype: str) -> keras.Model:
    model = conv_autoencoder.build(dtype)
    model.set_weights([value.astype(dtype) for value in weights.values()])
    return model


def _maps(images: np.ndarray, dtype: str) -> Any:
    return tf.constant(images[..., None].astype(dtype))


def _named(names: Mapping[str, Any], values: Sequence[Any]) -> dict[str, np.ndarray]:
    return {
        name: np.array(keras.ops.convert_to_numpy(value))
        for name, value in zip(names, values, strict=True)
    }
