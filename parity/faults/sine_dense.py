"""Faults that ports of the dense fit of a sine are known for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from chifoumi_jax.systems import sine_dense
from chifoumi_jax.systems.system import System


def faults() -> Iterator[tuple[str, int, System]]:
    """The name of each fault, the rung that must find it, and the system with the fault."""
    yield "Flax's default initial kernels", 2, _FlaxKernels()
    yield "tanh after the last layer", 5, _BoundedOutput()
    yield "sum of the squared errors instead of the mean", 6, _SummedError()
    yield "a learning rate of 0.001", 8, _SlowRate()
    yield "a fresh shuffle of 0, 1, 2, ... for each epoch", 9, _FreshShuffle()


class _FlaxKernels(sine_dense.SineDenseSystem):
    def create(self, rngs: nnx.Rngs) -> sine_dense.SineDense:
        model = super().create(rngs)
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
