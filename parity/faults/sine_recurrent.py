"""Faults that ports of the recurrent cell written by hand are known for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from chifoumi_jax.systems import sine_recurrent
from chifoumi_jax.systems.system import System


def faults() -> Iterator[tuple[str, int, System]]:
    """The name of each fault, the rung that must find it, and the system with the fault."""
    yield "PyTorch's default initial matrices", 2, _UniformMatrices()
    yield "the state before the input", 5, _StateFirst()
    yield "no tanh", 5, _WithoutTanh()
    yield "a squared error without the half", 6, _WholeSquare()
    yield "momentum", 8, _Momentum()
    yield "a state that outlives its epoch", 9, _NeverReset()


class _UniformMatrices(sine_recurrent.SineRecurrentSystem):
    def create(self, rngs: nnx.Rngs) -> sine_recurrent.SineRecurrent:
        model = super().create(rngs)
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
    def create(self, rngs: nnx.Rngs) -> sine_recurrent.SineRecurrent:
        return _StateFirstCell(rngs)


class _LinearCell(sine_recurrent.SineRecurrent):
    def cell(self, x: Any, state: Any) -> Any:
        state = jnp.concatenate([x[None], state]) @ self.w1[...]
        return (state @ self.w2[...])[0], state


class _WithoutTanh(sine_recurrent.SineRecurrentSystem):
    def create(self, rngs: nnx.Rngs) -> sine_recurrent.SineRecurrent:
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
