"""The GAN in today's Keras and TensorFlow, as an original to compare with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from parity.system_case import Arrays, Step, SystemCase, SystemOriginal
from reference import gan


class GANOriginal(SystemOriginal):
    """`reference.gan` with prescribed weights and noise."""

    def __init__(self, case: SystemCase) -> None:
        self.case = case
        self.name = f"Keras {keras.__version__}"

    def initial(self, seed: int) -> Arrays:
        """The weights that Keras draws."""
        keras.utils.set_random_seed(seed)
        values = [*gan.generator().get_weights(), *gan.discriminator().get_weights()]
        return dict(zip(self.case.weights, values, strict=True))

    def live(self, weights: Arrays) -> object:
        """The model that the study called GAN: the generator, then the discriminator."""
        generator, discriminator = _networks(weights, "float32")
        codes = keras.Input((gan.CODE,))
        return keras.Model(codes, discriminator(generator(codes)))

    def outputs(self, weights: Arrays, batch: Arrays, dtype: str) -> Arrays:
        """Fakes, and the probabilities of real images and of the fakes."""
        generator, discriminator = _networks(weights, dtype)
        fakes = generator(tf.constant(batch["codes"].astype(dtype)))
        real = gan.discriminate(discriminator, _flat(batch["images"], dtype))
        return {
            "fakes": np.asarray(fakes).reshape(-1, 28, 28),
            "real": np.asarray(real)[:, 0],
            "output": np.asarray(gan.discriminate(discriminator, fakes))[:, 0],
        }

    def value_and_gradients(self, weights: Arrays, batch: Arrays, noise: Any, dtype: str) -> Arrays:
        """Both losses, and the gradient of each by the weights of its own network."""
        generator, discriminator = _networks(weights, dtype)
        codes, masks, generator_codes, generator_masks = _noise(noise, dtype)
        images = _flat(batch["images"], dtype)
        with tf.GradientTape() as tape:
            first = gan.discriminator_loss(generator, discriminator, images, codes, masks)
        theirs = tape.gradient(first, gan.variables(discriminator))
        with tf.GradientTape() as tape:
            second = gan.generator_loss(generator, discriminator, generator_codes, generator_masks)
        gradients = tape.gradient(second, gan.variables(generator)) + theirs
        losses = {"discriminator": np.asarray(first), "generator": np.asarray(second)}
        return losses | _named(weights, gradients)

    def optimise(self, weights: Arrays, gradients: Sequence[Arrays]) -> Arrays:
        """The shared Adam: the discriminator's update, then the generator's."""
        variables = {name: tf.Variable(value) for name, value in weights.items()}
        adam = gan.SharedAdam(list(variables.values()))
        for one in gradients:
            for network in ("discriminator", "generator"):
                names = [name for name in weights if name.startswith(network)]
                given = [tf.constant(one[name]) for name in names]
                adam.apply(given, [variables[name] for name in names])
        return _named(weights, list(variables.values()))

    def train(self, weights: Arrays, epochs: Iterable[Iterable[Step]]) -> Arrays:
        """The study's training in float64; the loss is the discriminator's."""
        networks = _networks(weights, "float64")
        step, printed = gan.make_step(*networks), []
        for steps in epochs:
            losses, sizes = [], []
            for one in steps:
                images = _flat(one.batch["images"], "float64")
                first, _ = step(images, *_noise(one.noise, "float64"))
                losses.append(float(first))
                sizes.append(len(images))
            printed.append(self.case.port.printed(np.array(losses), sizes))
        values = [value for network in networks for value in gan.variables(network)]
        return {"loss": np.array(printed), **_named(weights, values)}


def _networks(weights: Arrays, dtype: str) -> tuple[keras.Sequential, keras.Sequential]:
    networks = gan.generator(dtype), gan.discriminator(dtype)
    for network in networks:
        own = [v.astype(dtype) for name, v in weights.items() if name.startswith(network.name)]
        network.set_weights(own)
    return networks


def _flat(images: np.ndarray, dtype: str) -> Any:
    return tf.constant(images.reshape(-1, gan.PIXELS).astype(dtype))


def _noise(noise: Any, dtype: str) -> tuple[Any, ...]:
    """Codes and masks, each for the discriminator's update, then for the generator's."""
    return tuple(
        tuple(map(tf.constant, part)) if isinstance(part, tuple) else tf.constant(part, dtype)
        for part in noise
    )


def _named(names: Mapping[str, Any], values: Sequence[Any]) -> dict[str, np.ndarray]:
    return {
        name: np.array(keras.ops.convert_to_numpy(value))
        for name, value in zip(names, values, strict=True)
    }
