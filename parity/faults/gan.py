"""Faults that ports of generative adversarial networks are known for."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar
from unittest import mock

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from chifoumi_jax.optim import keras_adam
from chifoumi_jax.systems import gan
from chifoumi_jax.systems.keras_layers import keras_binary_cross_entropy
from chifoumi_jax.systems.shared_adam import shared_adam
from chifoumi_jax.systems.system import State, System


def faults() -> Iterator[tuple[str, int, System]]:
    """The name of each fault, the rung that must find it, and the system with the fault."""
    yield "first kernels like the others", 2, _Glorot()
    yield "labels that are not smoothed", 6, _HardLabels()
    yield "the saturating loss of the generator", 6, _Saturating()
    yield "no dropout in the generator's step", 6, _EvaluatedDiscriminator()
    yield "dropout that keeps the size of what it keeps", 6, _UnscaledDropout()
    yield "a cross-entropy from logits, which never clips", 6, _FromLogits()
    yield "JAX's gradient of LeakyReLU at 0", 7, _JaxLeaky()
    yield "a clip that passes gradients", 7, _PassingClip()
    yield "an Adam for each network", 8, _TwoAdams()
    yield "an epsilon of 1e-8 in the shared Adam", 8, _SmallEpsilon()
    yield "a generator that meets the discriminator before its update", 9, _OneSweep()
    yield "real images and fakes in two updates", 9, _TwoBatches()


class _Glorot(gan.GANSystem):
    def create(self, rngs: nnx.Rngs) -> gan.GAN:
        model, glorot = super().create(rngs), nnx.initializers.glorot_uniform()
        model.generator.dense_1 = nnx.Linear(100, 256, kernel_init=glorot, rngs=rngs)
        model.discriminator.dense_1 = nnx.Linear(784, 1024, kernel_init=glorot, rngs=rngs)
        return model


Losses = dict[str, Callable[[gan.GAN], Any]]


class _Patched(gan.GANSystem):
    """The system whose losses use other functions, in place of those that `gan` imports."""

    functions: ClassVar[Mapping[str, Any]] = {}

    def losses(self, batch: Mapping[str, Any], noise: gan.Noise) -> Losses:
        return {
            name: functools.partial(self._patched, loss)
            for name, loss in super().losses(batch, noise).items()
        }

    def _patched(self, loss: Callable[[gan.GAN], Any], model: gan.GAN) -> Any:
        with contextlib.ExitStack() as stack:
            for name, function in self.functions.items():
                stack.enter_context(mock.patch.object(gan, name, function))
            return loss(model)


class _HardLabels(_Patched):
    functions: ClassVar = {"REAL_LABEL": 1.0}


class _Saturating(gan.GANSystem):
    def losses(self, batch: Mapping[str, Any], noise: gan.Noise) -> Losses:
        def saturating(model: gan.GAN) -> Any:
            fakes = model.generator(noise.generator_codes)
            p = model.discriminator(fakes, noise.generator_masks)
            return -keras_binary_cross_entropy(p, jnp.zeros_like(p)).mean()

        return {**super().losses(batch, noise), "generator": saturating}


class _EvaluatedDiscriminator(gan.GANSystem):
    def losses(self, batch: Mapping[str, Any], noise: gan.Noise) -> Losses:
        def undropped(model: gan.GAN) -> Any:
            p = model.discriminator(model.generator(noise.generator_codes))
            return keras_binary_cross_entropy(p, jnp.ones_like(p)).mean()

        return {**super().losses(batch, noise), "generator": undropped}


def _unscaled(x: Any, kept: Any, rate: float) -> Any:
    del rate
    return x if kept is None else jnp.where(kept, x, 0)


class _UnscaledDropout(_Patched):
    functions: ClassVar = {"dropout": _unscaled}


class _FromLogits(_Patched):
    functions: ClassVar = {"keras_binary_cross_entropy": optax.sigmoid_binary_cross_entropy}

    def _patched(self, loss: Callable[[gan.GAN], Any], model: gan.GAN) -> Any:
        with mock.patch.object(gan.Discriminator, "__call__", gan.Discriminator.logits):
            return super()._patched(loss, model)


class _JaxLeaky(_Patched):
    functions: ClassVar = {"leaky_relu": functools.partial(jax.nn.leaky_relu, negative_slope=0.2)}


def _passing(p: Any, targets: Any) -> Any:
    clipped = jnp.clip(p, 1e-7, 1 - 1e-7)
    # The value is that of the clipped probability, the gradient that of one that is not clipped.
    return keras_binary_cross_entropy(p + jax.lax.stop_gradient(clipped - p), targets)


class _PassingClip(_Patched):
    functions: ClassVar = {"keras_binary_cross_entropy": _passing}


class _TwoAdams(gan.GANSystem):
    def optimizer(self) -> optax.GradientTransformation:
        return keras_adam(2e-4, b1=0.5)


class _SmallEpsilon(gan.GANSystem):
    def optimizer(self) -> optax.GradientTransformation:
        with mock.patch(
            "chifoumi_jax.systems.shared_adam.keras_adam",
            functools.partial(keras_adam, eps=1e-8),
        ):
            return shared_adam(2e-4, 0.5, gan.NETWORKS)


class _OneSweep(gan.GANSystem):
    """Both gradients are taken before either update."""

    step = System.step


class _TwoBatches(gan.GANSystem):
    """The discriminator is updated on real images, then on fakes, each with half the loss."""

    def step(self, graph: Any, state: State, batch: Mapping[str, Any], noise: Any) -> Any:
        count = len(batch["images"])

        def part(real: bool, model: gan.GAN) -> Any:
            fakes = jax.lax.stop_gradient(model.generator(noise.codes))
            images = batch["images"] if real else fakes
            masks = tuple(m[:count] if real else m[count:] for m in noise.masks)
            p = model.discriminator(images, masks)
            label = gan.REAL_LABEL if real else 0.0
            return keras_binary_cross_entropy(p, jnp.full_like(p, label)).mean() / 2

        state, first = self.update(graph, state, "discriminator", functools.partial(part, True))
        state, second = self.update(graph, state, "discriminator", functools.partial(part, False))
        loss = self.losses(batch, noise)["generator"]
        return self.update(graph, state, "generator", loss)[0], first + second
