"""Faults that ports of recurrent networks are known for, planted in the bidirectional GRU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array

from chifoumi_jax.systems.sine_denoiser import (
    HIDDEN,
    GRUCell,
    SineDenoiser,
    SineDenoiserSystem,
)
from chifoumi_jax.systems.system import Gradients, State, System
from chifoumi_jax.systems.weights import Weight


def faults() -> Iterator[tuple[str, int, System]]:
    """The name of each fault, the rung that must find it, and the system with the fault."""
    yield "a GRU without the state's bias", 1, _OneBias()
    yield "recurrent weights of Flax's cells", 2, _OrthogonalState()
    yield "the gates in Keras' order", 5, _KerasOrder()
    yield "a reset gate before the product", 5, _ResetBefore()
    yield "an update gate that is turned round", 5, _TurnedUpdate()
    yield "a backward direction that is not reversed again", 5, _NotReversed()
    yield "the backward direction first", 5, _BackwardFirst()
    yield "the last state for all time steps", 5, _LastState()
    yield "the squared error", 6, _Squared()
    yield "a gradient that ends at each time step", 7, _Truncated()
    yield "today's Adam for a recurrent network", 8, _TodaysAdam()
    yield "gradients that are added to those of the step before", 9, _KeptGradients()


class _Faulty(SineDenoiserSystem):
    """A system whose cells or network are replaced, and whose weights stay where they are."""

    cell: ClassVar[type[GRUCell] | None] = None
    network: ClassVar[type[SineDenoiser] | None] = None

    def create(self, rngs: nnx.Rngs) -> SineDenoiser:
        if self.network is not None:
            return self.network(self.variant, rngs)
        model = super().create(rngs)
        if self.cell is not None:
            model.forward, model.backward = self.cell(rngs), self.cell(rngs)
        return model


class _OneBias(SineDenoiserSystem):
    def weights(self, model: nnx.Module) -> Mapping[str, Weight]:
        found = super().weights(model)
        return {name: weight for name, weight in found.items() if "bias_hh" not in name}


class _OrthogonalCell(GRUCell):
    def __init__(self, rngs: nnx.Rngs):
        super().__init__(rngs)
        draw = nnx.initializers.orthogonal()
        self.weight_hh = nnx.Param(draw(rngs.params(), (3 * HIDDEN, HIDDEN), jnp.float32))


class _OrthogonalState(SineDenoiserSystem):
    def create(self, rngs: nnx.Rngs) -> SineDenoiser:
        model = super().create(rngs)
        model.forward = _OrthogonalCell(rngs)
        return model


class _UpdateFirst(GRUCell):
    def next_state(self, state: Array, from_input: Array, from_state: Array) -> Array:
        swapped = jnp.r_[HIDDEN : 2 * HIDDEN, 0:HIDDEN, 2 * HIDDEN : 3 * HIDDEN]
        return super().next_state(state, from_input[swapped], from_state[swapped])


class _KerasOrder(_Faulty):
    cell = _UpdateFirst


class _EarlyReset(GRUCell):
    def __call__(self, state: Array, x: Array) -> Array:
        from_input = self.weight_ih[...] * x + self.bias_ih[...][:, None]
        weight, bias = self.weight_hh[...], self.bias_hh[...][:, None]
        gates = from_input[: 2 * HIDDEN] + weight[: 2 * HIDDEN] @ state + bias[: 2 * HIDDEN]
        reset, update = jnp.split(jax.nn.sigmoid(gates), 2)
        product = weight[2 * HIDDEN :] @ (reset * state) + bias[2 * HIDDEN :]
        new = jnp.tanh(from_input[2 * HIDDEN :] + product)
        return (1 - update) * new + update * state


class _ResetBefore(_Faulty):
    cell = _EarlyReset


class _OtherUpdate(GRUCell):
    def next_state(self, state: Array, from_input: Array, from_state: Array) -> Array:
        gates = jax.nn.sigmoid(from_input[: 2 * HIDDEN] + from_state[: 2 * HIDDEN])
        reset, update = jnp.split(gates, 2)
        new = jnp.tanh(from_input[2 * HIDDEN :] + reset * from_state[2 * HIDDEN :])
        return update * new + (1 - update) * state


class _TurnedUpdate(_Faulty):
    cell = _OtherUpdate


class _StaysReversed(SineDenoiser):
    def states(self, noisy: Array) -> Array:
        forward, backward = jnp.split(super().states(noisy), 2, axis=1)
        return jnp.concatenate([forward, backward[::-1]], axis=1)


class _NotReversed(_Faulty):
    network = _StaysReversed


class _OtherWayRound(SineDenoiser):
    def states(self, noisy: Array) -> Array:
        return jnp.roll(super().states(noisy), HIDDEN, axis=1)


class _BackwardFirst(_Faulty):
    network = _OtherWayRound


class _OnlyLast(SineDenoiser):
    def states(self, noisy: Array) -> Array:
        states = super().states(noisy)
        return jnp.broadcast_to(states[-1:], states.shape)


class _LastState(_Faulty):
    network = _OnlyLast


class _Squared(SineDenoiserSystem):
    def loss(self, model: nnx.Module, batch: Mapping[str, Any], carry: Any, noise: Any) -> Any:
        assert isinstance(model, SineDenoiser)
        value = jnp.mean((model.denoise(batch["noisy"]) - batch["clean"]) ** 2)
        return value, (value, carry)


class _DetachedState(GRUCell):
    def __call__(self, state: Array, x: Array) -> Array:
        return super().__call__(jax.lax.stop_gradient(state), x)


class _Truncated(_Faulty):
    cell = _DetachedState


class _TodaysAdam(SineDenoiserSystem):
    def optimizer(self) -> optax.GradientTransformation:
        return optax.adam(1e-2, eps=1e-8)


class _KeptGradients(SineDenoiserSystem):
    """As in a PyTorch loop without `zero_grad`."""

    def initial_carry(self) -> Any:
        return None

    def begin_epoch(self, carry: Any) -> Any:
        return carry

    def state(self, model: nnx.Module) -> tuple[nnx.GraphDef[Any], State]:
        graph, state = super().state(model)
        return graph, state._replace(carry=jax.tree.map(jnp.zeros_like, state.params))

    def gradients(
        self, graph: nnx.GraphDef[Any], state: State, batch: Mapping[str, Any], noise: Any
    ) -> tuple[Any, Gradients]:
        gradients, found = super().gradients(graph, state._replace(carry=()), batch, noise)
        gradients = jax.tree.map(jnp.add, gradients, state.carry)
        return gradients, found._replace(carry=gradients)
