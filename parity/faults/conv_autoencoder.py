"""Faults that ports of convolutional autoencoders from Keras are known for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from chifoumi_jax.systems import conv_autoencoder, system
from chifoumi_jax.systems.keras_layers import BatchNorm, Conv
from chifoumi_jax.systems.system import System


def faults() -> Iterator[tuple[str, int, System]]:
    """The name of each fault, the rung that must find it, and the system with the fault."""
    yield "He's initial kernels", 2, _He()
    yield "Flax's epsilon in batch normalisation", 5, _with_norm(_SmallEpsilon)
    yield "batch normalisation before ReLU", 5, _with_network(_NormFirst)
    yield "upsampling that interpolates", 5, _with_network(_Bilinear)
    yield "pooling by means", 5, _with_network(_MeanPool)
    yield "a training with the running statistics", 6, _Evaluated()
    yield "a denoiser that learns to repeat the noise", 6, _NoisyTargets()
    yield "an error summed over the pixels", 6, _Summed()
    yield "a moving variance that is corrected once", 7, _with_norm(_CorrectedOnce)
    yield "moving statistics that are not debiased", 7, _with_norm(_Biased)
    yield "a momentum of PyTorch's meaning", 7, _with_norm(_TorchMomentum)
    yield "no gradient through a batch's statistics", 7, _with_norm(_ConstantStatistics)
    yield "RMSprop's epsilon below the root", 8, _BelowRoot()
    yield "a count of updates that begins again in each epoch", 9, _Restarted()
    yield "a new permutation for each epoch", 9, _Permuted()


def _with_network(network: type[conv_autoencoder.ConvAutoencoder]) -> System:
    # A class of its own, because systems of the same class count as equal.
    port: type[System] = type(
        "Port", (conv_autoencoder.ConvAutoencoderSystem,), {"network": network}
    )
    return port()


def _with_norm(norm: type[BatchNorm]) -> System:
    return _with_network(
        type("Network", (conv_autoencoder.ConvAutoencoder,), {"normalisation": norm})
    )


class _He(conv_autoencoder.ConvAutoencoderSystem):
    def create(self, rngs: nnx.Rngs) -> conv_autoencoder.ConvAutoencoder:
        model, he = super().create(rngs), nnx.initializers.he_uniform()
        for one in model.convolutions:
            one.kernel[...] = he(rngs.params(), one.kernel.shape, jnp.float32)
        return model


class _SmallEpsilon(BatchNorm):
    EPSILON = 1e-5


class _NormFirst(conv_autoencoder.ConvAutoencoder):
    def block(self, convolution: Conv, norm: BatchNorm, maps: Any, updates: Any) -> Any:
        return jax.nn.relu(norm(convolution(maps), updates))


class _Bilinear(conv_autoencoder.ConvAutoencoder):
    def layers(self, images: Any, updates: Any = 0) -> dict[str, Any]:
        def interpolate(maps: Any) -> Any:
            batch, height, width, channels = maps.shape
            return jax.image.resize(maps, (batch, 2 * height, 2 * width, channels), "bilinear")

        with mock.patch.object(conv_autoencoder, "upsample", interpolate):
            return super().layers(images, updates)


class _MeanPool(conv_autoencoder.ConvAutoencoder):
    def layers(self, images: Any, updates: Any = 0) -> dict[str, Any]:
        def mean_pool(maps: Any) -> Any:
            return sum(maps[:, i::2, j::2] for i in range(2) for j in range(2)) / 4

        with mock.patch.object(conv_autoencoder, "max_pool", mean_pool):
            return super().layers(images, updates)


Loss = tuple[Any, tuple[Any, Any]]


class _Evaluated(conv_autoencoder.ConvAutoencoderSystem):
    def loss(self, model: Any, batch: Mapping[str, Any], carry: Any, noise: Any) -> Loss:
        model.eval()
        found = super().loss(model, batch, carry, noise)
        model.train()
        return found


class _NoisyTargets(conv_autoencoder.ConvAutoencoderSystem):
    def loss(self, model: Any, batch: Mapping[str, Any], carry: Any, noise: Any) -> Loss:
        return super().loss(model, {**batch, "targets": batch["images"]}, carry, noise)


class _Summed(conv_autoencoder.ConvAutoencoderSystem):
    def loss(self, model: Any, batch: Mapping[str, Any], carry: Any, noise: Any) -> Loss:
        value, (_, carry) = super().loss(model, batch, carry, noise)
        value *= batch["images"][0].size
        return value, (value, carry)


class _CorrectedOnce(BatchNorm):
    # Keras before its version 2.1.4 had no second correction.
    def _follow(self, moving: Any, value: Any, updates: Any) -> None:
        if moving is self.var:
            value = value * (self.count - 1.001) / self.count
        super()._follow(moving, value, updates)

    def __call__(self, maps: Any, updates: Any = 0) -> Any:
        self.count = maps.size // maps.shape[-1]
        return super().__call__(maps, updates)


class _Biased(BatchNorm):
    def _follow(self, moving: Any, value: Any, updates: Any) -> None:
        del updates
        moving[...] = 0.99 * moving[...] + 0.01 * jax.lax.stop_gradient(value)


class _TorchMomentum(BatchNorm):
    MOMENTUM = 0.01

    def _follow(self, moving: Any, value: Any, updates: Any) -> None:
        del updates
        super()._follow(moving, value, jnp.int32(1))


class _ConstantStatistics(BatchNorm):
    def __call__(self, maps: Any, updates: Any = 0) -> Any:
        if self.use_running_average:
            return super().__call__(maps, updates)
        # The statistics are taken once more, as constants; the first call updates the moving ones.
        super().__call__(jax.lax.stop_gradient(maps), updates)
        mean = jax.lax.stop_gradient(maps.mean((0, 1, 2)))
        var = jax.lax.stop_gradient(maps.var((0, 1, 2)))
        scale = self.scale[...] / jnp.sqrt(var + self.EPSILON)
        return (maps - mean) * scale + self.bias[...]


class _BelowRoot(conv_autoencoder.ConvAutoencoderSystem):
    def optimizer(self) -> optax.GradientTransformation:
        return optax.rmsprop(1e-3, 0.9, eps=1e-7)


class _Restarted(conv_autoencoder.ConvAutoencoderSystem):
    begin_epoch = System.begin_epoch


class _Permuted(conv_autoencoder.ConvAutoencoderSystem):
    orders = staticmethod(system.permutations)
