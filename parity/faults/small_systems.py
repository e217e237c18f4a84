"""Faults that ports of the small systems are known for, as changed systems."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from chifoumi_jax.systems import sine_dense, sine_recurrent
from chifoumi_jax.systems.system import System


def small_system_faults() -> Iterator[tuple[str, int, System]]:
    """The name of each fault, the rung that must find it, and the system with the fault."""
    yield "PyTorch's default initial matrices", 2, _UniformMatrices()
    yield "the state before the input", 5, _StateFirst()
    yield "no tanh", 5, _WithoutTanh()
    yield "a squared error without the half", 6, _WholeSquare()
    yield "momentum", 8, _Momentum()
    yield "a state that outlives its epoch", 9, _NeverReset()
    yield "Flax's default initial kernels", 2, _FlaxKernels()
    yield "tanh after the last layer", 5, _BoundedOutput()
    yield "sum of the squared errors instead of the mean", 6, _SummedError()
    yield "a learning rate of 0.001", 8, _SlowRate()
    yield "a fresh shuffle of 0, 1, 2, ... for each epoch", 9, _FreshShuffle()


class _UniformMatrices(sine_recurrent.SineRecurrentSystem):
    def build(self, variant: str | None = None, *, rngs: nnx.Rngs) -> sine_recurrent.SineRecurrent:
        model = super().build(rngs=rngs)
        for weight in (model.w1, model.w2):
            bound = len(weight[...]) ** -0.5
            drawn = jax.random.uniform(rngs.params(), weight.shape, minval=-bound, maxval=bound)
            weight.set_value(drawn)
        return model


class _StateFirstCell(sine_recurrent.SineRecurrent):
    def cell(self, x: Any, state: Any) -> Any:
        state = jnp.tanh(jnp.concatenate([state, x[None]]) @ self.w1[...])
        return (state @ self.w2[...])[0], state


class _StateFirst(sine_recurrent.SineRecurrentSystem):
    def build(self, variant: str | None = None, *, rngs: nnx.Rngs) -> sine_recurrent.SineRecurrent:
        return _StateFirstCell(rngs)


class _LinearCell(sine_recurrent.SineRecurrent):
    def cell(self, x: Any, state: Any) -> Any:
        state = jnp.concatenate([x[None], state]) @ self.w1[...]
        return (state @ self.w2[...])[0], state


class _WithoutTanh(sine_recurrent.SineRecurrentSystem):
    def build(self, variant: str | None = None, *, rngs: nnx.Rngs) -> sine_recurrent.SineRecurrent:
        return _LinearCell(rngs)


class _WholeSquare(sine_recurrent.SineRecurrentSystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        value, (printed, state) = super().loss(model, batch, carry, noise)
        return 2 * value, (2 * printed, state)


class _Momentum(sine_recurrent.SineRecurrentSystem):
    def optimizer(self) -> optax.GradientTransformation:
        return optax.sgd(0.05, momentum=0.5)


class _NeverReset(sine_recurrent.SineRecurrentSystem):
    def begin_epoch(self, carry: Any) -> Any:
        return carry


class _FlaxKernels(sine_dense.SineDenseSystem):
    def build(self, variant: str | None = None, *, rngs: nnx.Rngs) -> sine_dense.SineDense:
        model = super().build(rngs=rngs)
        model.dense_2 = nnx.Linear(5, 5, rngs=rngs)
        return model


class _BoundedOutput(sine_dense.SineDenseSystem):
    def outputs(self, model: nnx.Module, batch: Mapping[str, Any]) -> dict[str, Any]:
        found = super().outputs(model, batch)
        return {**found, "output": jnp.tanh(found["output"])}


class _SummedError(sine_dense.SineDenseSystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        value, (printed, rest) = super().loss(model, batch, carry, noise)
        return value * len(batch["x"]), (printed * len(batch["x"]), rest)


class _SlowRate(sine_dense.SineDenseSystem):
    def optimizer(self) -> optax.GradientTransformation:
        return optax.sgd(0.001)


class _FreshShuffle(sine_dense.SineDenseSystem):
    def orders(self, examples: int, seed: int) -> Iterator[np.ndarray]:
        rng = np.random.RandomState(seed)
        return (rng.permutation(examples) for _ in itertools.count())
