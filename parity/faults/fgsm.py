"""Faults that ports of a LeNet and of its attack are known for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from chifoumi_jax.systems import fgsm
from chifoumi_jax.systems.layers import Conv, channel_major, max_pool_relu
from chifoumi_jax.systems.system import System


def faults() -> Iterator[tuple[str, int, System]]:
    """The name of each fault, the rung that must find it, and the system with the fault."""
    yield "Flax's initial weights in a convolution", 2, _FlaxWeights()
    yield "maps that are flattened with the channels last", 5, _with_network(_ChannelsLast)
    yield "average pooling", 5, _with_network(_AveragePooling)
    yield "pooling without ReLU", 5, _with_network(_NoReLU)
    yield "log-softmax over the images", 5, _with_network(_WrongAxis)
    yield "the sum of the images' losses", 6, _SummedLoss()
    yield "dropout without scaling", 6, _with_network(_NoScaling)
    yield "dropout of single values instead of channels", 6, _with_network(_SingleValues)
    yield "no dropout", 6, _NoDropout()
    yield "a gradient that equal maxima share", 7, _with_network(_SharedTies)
    yield "the gradient to the last of equal maxima", 7, _with_network(_LastOfTies)
    yield "a gradient by the images with dropout", 7, _TrainingGradient()
    yield "Nesterov's momentum in the LeNet's SGD", 8, _Nesterov()
    yield "dampened momentum", 8, _Dampened()
    yield "the mean of the batches' losses", 9, _MeanOfBatches()


class _FlaxWeights(fgsm.FGSMSystem):
    def create(self, rngs: nnx.Rngs) -> fgsm.LeNet:
        model = super().create(rngs)
        model.conv2 = Conv(10, 20, (5, 5), rngs=rngs)
        return model


class _Parts(fgsm.LeNet):
    """The network in replaceable parts."""

    axis: ClassVar[int] = 1
    kept: ClassVar[float] = 0.5

    def pool(self, maps: Array) -> Array:
        return max_pool_relu(maps)

    def flatten(self, maps: Array) -> Array:
        return channel_major(maps)

    def channels(self, maps: Array, mask: Array) -> Array:
        return jnp.where(mask[:, None, None], maps / self.kept, 0)

    def layers(self, images: Array, masks: fgsm.Masks | None = None) -> dict[str, Array]:
        pool1 = self.pool(self.conv1(images[..., None]))
        conv2 = self.conv2(pool1)
        if masks is not None:
            conv2 = self.channels(conv2, masks["channels"])
        pool2 = self.pool(conv2)
        hidden = jax.nn.relu(self.fc1(self.flatten(pool2)))
        if masks is not None:
            hidden = jnp.where(masks["units"], hidden / self.kept, 0)
        output = jax.nn.log_softmax(self.fc2(hidden), axis=self.axis)
        return {"pool1": pool1, "pool2": pool2, "fc1": hidden, "output": output}


def _with_network(faulty: type[fgsm.LeNet]) -> System:
    class Faulty(fgsm.FGSMSystem):
        network = faulty

    return Faulty()


def _windows(maps: Array) -> Array:
    """The four values of each window, in row-major order, on a new last axis."""
    places = [maps[:, row::2, column::2] for row in range(2) for column in range(2)]
    return jnp.stack(places, axis=-1)


class _ChannelsLast(_Parts):
    def flatten(self, maps: Array) -> Array:
        return maps.reshape(len(maps), -1)


class _AveragePooling(_Parts):
    def pool(self, maps: Array) -> Array:
        return jax.nn.relu(_windows(maps).mean(-1))


class _NoReLU(_Parts):
    def pool(self, maps: Array) -> Array:
        return _windows(maps).max(-1)


class _WrongAxis(_Parts):
    axis = 0


class _NoScaling(_Parts):
    kept = 1.0


class _SingleValues(_Parts):
    def channels(self, maps: Array, mask: Array) -> Array:
        rows = jnp.arange(maps.shape[1])[:, None, None]
        columns, channels = jnp.arange(maps.shape[2])[:, None], jnp.arange(maps.shape[3])
        chosen = mask[:, (channels + rows + columns) % maps.shape[3]]
        return jnp.where(chosen, maps / self.kept, 0)


class _SharedTies(_Parts):
    def pool(self, maps: Array) -> Array:
        return jax.nn.relu(_windows(maps).max(-1))


class _LastOfTies(_Parts):
    def pool(self, maps: Array) -> Array:
        windows = _windows(maps)
        last = 3 - jnp.argmax(windows[..., ::-1], axis=-1)
        return jax.nn.relu(jnp.take_along_axis(windows, last[..., None], axis=-1)[..., 0])


class _SummedLoss(fgsm.FGSMSystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        value, _ = super().loss(model, batch, carry, noise)
        total = value * len(batch["labels"])
        return total, (total, carry)


class _NoDropout(fgsm.FGSMSystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        return super().loss(model, batch, carry, None)


class _TrainingGradient(fgsm.FGSMSystem):
    def batch_gradients(self, model: nnx.Module, batch: Mapping[str, Any]) -> dict[str, Any]:
        assert isinstance(model, fgsm.LeNet)
        noise = self.draw(jax.random.key(0), len(batch["images"]))

        def loss(images: Array) -> Array:
            return fgsm.losses(model(images, noise), batch["labels"]).sum()

        return {"images": jax.grad(loss)(batch["images"])}


class _Nesterov(fgsm.FGSMSystem):
    def optimizer(self) -> optax.GradientTransformation:
        return optax.sgd(0.01, momentum=0.5, nesterov=True)


class _Dampened(fgsm.FGSMSystem):
    def optimizer(self) -> optax.GradientTransformation:
        return optax.chain(optax.ema(0.5, debias=False), optax.sgd(0.01))


class _MeanOfBatches(fgsm.FGSMSystem):
    def printed(self, losses: Any, sizes: Any) -> float:
        return float(np.mean(losses))
