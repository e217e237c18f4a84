"""Faults that ports of the dense variational autoencoder are known for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from chifoumi_jax.optim import keras_adam
from chifoumi_jax.systems import vae
from chifoumi_jax.systems.layers import torch_binary_cross_entropy, uniform
from chifoumi_jax.systems.system import System


def faults() -> Iterator[tuple[str, int, System]]:
    """The name of each fault, the rung that must find it, and the system with the fault."""
    yield "biases that start at zero", 2, _ZeroBiases()
    yield "the log variance as a standard deviation", 6, _Deviation()
    yield "the divergence over the images of the batch", 6, _OwnDivisor()
    yield "today's cross-entropy, from logits", 6, _FromLogits()
    yield "noise that is left out", 6, _NoNoise()
    yield "a divergence without gradient", 7, _DetachedDivergence()
    yield "Adam of today's PyTorch", 8, _TodaysAdam()
    yield "Keras' epsilon", 8, _KerasEpsilon()
    yield "a printed loss without the last batch", 9, _FullBatches()


class _ZeroBiases(vae.VAESystem):
    def create(self, rngs: nnx.Rngs) -> vae.VAE:
        model = super().create(rngs)
        model.fc1 = nnx.Linear(784, 400, kernel_init=uniform(1 / 28), rngs=rngs)
        return model


def _with_loss(value: Any, carry: Any) -> Any:
    return value, (value, carry)


class _Deviation(vae.VAESystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        assert isinstance(model, vae.VAE)
        mean, log_variance = model.encode(batch["images"])
        reconstruction = model.decode(mean + jnp.exp(log_variance) * noise)
        entropy = torch_binary_cross_entropy(reconstruction, batch["images"]).mean()
        divergence = -0.5 * jnp.sum(1 + log_variance - mean**2 - jnp.exp(log_variance))
        return _with_loss(entropy + divergence / (vae.BATCH_SIZE * vae.PIXELS), carry)


class _OwnDivisor(vae.VAESystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        assert isinstance(model, vae.VAE)
        reconstruction, mean, log_variance = model(batch["images"], noise)
        entropy = torch_binary_cross_entropy(reconstruction, batch["images"]).mean()
        divergence = -0.5 * jnp.sum(1 + log_variance - mean**2 - jnp.exp(log_variance))
        return _with_loss(entropy + divergence / batch["images"].size, carry)


class _FromLogits(vae.VAESystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        assert isinstance(model, vae.VAE)
        value = vae.loss(model, batch["images"], noise)
        mean, log_variance = model.encode(batch["images"])
        code = mean + jnp.exp(log_variance / 2) * noise
        logits = model.fc4(jax.nn.relu(model.fc3(code))).reshape(batch["images"].shape)
        probabilities = jax.nn.sigmoid(logits)
        changed = optax.sigmoid_binary_cross_entropy(logits, batch["images"]).mean()
        usual = torch_binary_cross_entropy(probabilities, batch["images"]).mean()
        return _with_loss(value + changed - usual, carry)


class _NoNoise(vae.VAESystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        return super().loss(model, batch, carry, 0 * noise)


class _DetachedDivergence(vae.VAESystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        assert isinstance(model, vae.VAE)
        value = vae.loss(model, batch["images"], noise)
        # The value is the same; the divergence has no gradient.
        mean, log_variance = model.encode(batch["images"])
        divergence = -0.5 * jnp.sum(1 + log_variance - mean**2 - jnp.exp(log_variance))
        share = divergence / (vae.BATCH_SIZE * vae.PIXELS)
        return _with_loss(value - share + jax.lax.stop_gradient(share), carry)


class _TodaysAdam(vae.VAESystem):
    def optimizer(self) -> optax.GradientTransformation:
        return optax.adam(1e-3, eps=1e-8)


class _KerasEpsilon(vae.VAESystem):
    def optimizer(self) -> optax.GradientTransformation:
        return keras_adam(1e-3)


class _FullBatches(vae.VAESystem):
    def printed(self, losses: Any, sizes: Any) -> float:
        return float(losses[:-1].sum() / sum(sizes[:-1]))
