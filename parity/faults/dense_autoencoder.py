"""Faults that ports of dense autoencoders are known for, planted in architecture 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from chifoumi_jax.optim import keras_adam
from chifoumi_jax.systems.dense_autoencoder import (
    PIXELS,
    WIDTHS,
    Autoencoder,
    DenseAutoencoderSystem,
    loss,
)
from chifoumi_jax.systems.layers import torch_linear
from chifoumi_jax.systems.system import System


def faults() -> Iterator[tuple[str, int, System]]:
    """The name of each fault, the rung that must find it, and the system with the fault."""
    yield "a decoder that lacks the hidden layer", 1, _ShortDecoder("1")
    yield "Flax's initial weights", 2, _FlaxWeights("1")
    yield "ReLU after the code", 5, _ReluCode("1")
    yield "a sigmoid after the code", 5, _SigmoidCode("1")
    yield "an output without the sigmoid", 5, _NoSigmoid("1")
    yield "the mean of the pixels' losses", 6, _Mean("1")
    yield "today's cross-entropy, clamped at -100", 6, _Clamped("1")
    yield "logarithms that are derived as they stand", 7, _PlainLogarithms("1")
    yield "today's Adam for an autoencoder", 8, _TodaysAdam("1")
    yield "Keras' epsilon for an autoencoder", 8, _KerasEpsilon("1")
    yield "a printed sum without the last batch", 9, _FullBatches("1")
    yield "a smaller last batch that counts as much as a full one", 9, _MeanOfBatches("1")


class _ShortDecoder(DenseAutoencoderSystem):
    def create(self, rngs: nnx.Rngs) -> Autoencoder:
        model = super().create(rngs)
        # 784 → 400 → 20 → 784: three layers instead of four.
        model.fc3 = torch_linear(WIDTHS[self.variant][-1], PIXELS, rngs)
        del model.fc4
        model.names = ("fc1", "fc2", "fc3")
        return model


class _FlaxWeights(DenseAutoencoderSystem):
    def create(self, rngs: nnx.Rngs) -> Autoencoder:
        model = super().create(rngs)
        model.fc2 = nnx.Linear(400, WIDTHS[self.variant][-1], rngs=rngs)
        return model


class _ReluAfterCode(Autoencoder):
    def encode(self, images: Array) -> Array:
        return jax.nn.relu(super().encode(images))


class _ReluCode(DenseAutoencoderSystem):
    network = _ReluAfterCode


class _SigmoidAfterCode(Autoencoder):
    def encode(self, images: Array) -> Array:
        return jax.nn.sigmoid(super().encode(images))


class _SigmoidCode(DenseAutoencoderSystem):
    network = _SigmoidAfterCode


class _Logits(Autoencoder):
    def decode(self, codes: Array) -> Array:
        return jax.scipy.special.logit(super().decode(codes))


class _NoSigmoid(DenseAutoencoderSystem):
    network = _Logits


def _with_loss(value: Any, carry: Any) -> Any:
    return value, (value, carry)


class _Mean(DenseAutoencoderSystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        assert isinstance(model, Autoencoder)
        return _with_loss(loss(model, batch["images"]) / batch["images"].size, carry)


class _Clamped(DenseAutoencoderSystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        assert isinstance(model, Autoencoder)
        images, p = batch["images"], model(batch["images"])
        logarithms = [jnp.maximum(jnp.log(value), -100) for value in (p, 1 - p)]
        return _with_loss(-(images * logarithms[0] + (1 - images) * logarithms[1]).sum(), carry)


class _PlainLogarithms(DenseAutoencoderSystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        assert isinstance(model, Autoencoder)
        images, p = batch["images"], model(batch["images"])
        # The value is right; the derivative of log at 0 makes the gradient 0 * infinity.
        of_one, of_zero = (
            jnp.where(value == 0, jnp.log(1e-12), jnp.log(value)) for value in (p, 1 - p)
        )
        return _with_loss(-(images * of_one + (1 - images) * of_zero).sum(), carry)


class _TodaysAdam(DenseAutoencoderSystem):
    def optimizer(self) -> optax.GradientTransformation:
        return optax.adam(1e-3, eps=1e-8)


class _KerasEpsilon(DenseAutoencoderSystem):
    def optimizer(self) -> optax.GradientTransformation:
        return keras_adam(1e-3)


class _FullBatches(DenseAutoencoderSystem):
    def printed(self, losses: Any, sizes: Any) -> float:
        return float(losses[:-1].sum() / sum(sizes[:-1]))


class _MeanOfBatches(DenseAutoencoderSystem):
    def printed(self, losses: Any, sizes: Any) -> float:
        return float(np.mean(losses / np.asarray(sizes)))
