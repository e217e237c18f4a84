"""One Adam for several networks, as Keras 2.2.4 shares an optimiser between compiled models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from chifoumi_jax.optim import KerasAdamState, keras_adam

States = Mapping[str, KerasAdamState]


def shared_adam(
    learning_rate: float, b1: float, networks: Sequence[str]
) -> optax.GradientTransformation:
    """`keras_adam` whose networks have their own moments but one counter of steps.

    Two networks that are updated in turn take steps 1, 3, 5, … and 2, 4, 6, … of Adam's bias
    correction. An update may have the gradients of one network, or of several, which are then
    updated one after the other.

    Source: Keras 2.2.4, where each training function has its own `m` and `v`, and all increment
    `optimizer.iterations`.

    Args:
        learning_rate: The learning rate.
        b1: The decay of the running mean of gradients.
        networks: Keys of the parameters, in the order of their updates.
    """
    adam = keras_adam(learning_rate, b1=b1)

    def init(params: Any) -> dict[str, KerasAdamState]:
        return {name: _init(adam, params[name]) for name in networks}

    def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, States]:
        del params
        # A copy of the same type, a dictionary or an `nnx.State`.
        updates = jax.tree.map(lambda gradient: gradient, gradients)
        for name in networks:
            if name in gradients:
                updates[name], own = adam.update(gradients[name], state[name])
                assert isinstance(own, KerasAdamState)
                # Every network's counter is the shared one.
                counted = {n: one._replace(steps=own.steps) for n, one in state.items()}
                state = counted | {name: own}
        return updates, state

    return optax.GradientTransformation(init, update)


def _init(adam: optax.GradientTransformation, params: Any) -> KerasAdamState:
    state = adam.init(params)
    assert isinstance(state, KerasAdamState)
    return state
