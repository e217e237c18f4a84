"""A Keras model on TensorFlow as a reference."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import keras
import numpy as np
import tensorflow as tf

from parity.port.layer import Arrays, Objective, Run
from parity.port.references.base import Reference, in_order
from parity.port.references.keras_copy import copy_in_float64, in_float64
from parity.port.references.keras_layers import Part, parts_of
from parity.port.references.keras_watch import recorded_calls
from parity.port.trees import cast, named_leaves
from parity.value_and_grad import ValueAndGrad


class KerasReference(Reference):
    """A `keras.Model`.

    Raises:
        ValueError: If Keras runs on another backend than TensorFlow, or if the model is not built.
    """

    framework = "keras"

    def __init__(self, model: keras.Model, batch: Any) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=tensorflow before "
                "Keras is imported"
            )
        if not model.built:
            raise ValueError("the Keras model has no weights yet: call it on a batch first")
        self._models: dict[str, tuple[Any, list[Part]]] = {"float32": (model, parts_of(model))}
        self._own = [_array(v) for v in _variables(self._models["float32"][1])]
        try:
            copy = copy_in_float64(model, _tensors(cast(batch, "float64")))
            parts = parts_of(copy)
            if [v.shape for v in _variables(parts)] != [a.shape for a in self._own]:
                raise ValueError("the copy has weights of other shapes")
            self._models["float64"] = (copy, parts)
        except Exception as error:  # noqa: BLE001 - a custom layer may raise anything; it is reported
            self.why_not_float64 = (
                "Keras cannot make the model again in float64 "
                f"({type(error).__name__}: {str(error).splitlines()[0][:200]})"
            )
        # The names of the user's model, because Keras may rename the layers of a copy.
        self._names = [p.name for part in self._models["float32"][1] for p in part.layer.parameters]
        self.layers = [part.layer for part in self._models["float32"][1]]
        dtype = "float32" if self.why_not_float64 else "float64"
        calls = self.run(self.arrays(), batch, dtype, train=False).calls
        self.layers = in_order(self.layers, calls)

    def arrays(self) -> Arrays:
        """The values of the variables."""
        return dict(zip(self._names, self._own, strict=True))

    def run(self, weights: Arrays, batch: Any, dtype: str, train: bool) -> Run:
        """A forward pass with these weights."""
        with self._prepared(weights, dtype) as (model, parts):
            names = [part.layer.name for part in self._models["float32"][1]]
            renamed = [
                dataclasses.replace(part, layer=dataclasses.replace(part.layer, name=name))
                for part, name in zip(parts, names, strict=True)
            ]
            with recorded_calls(renamed) as calls:
                outputs = model(_tensors(cast(batch, dtype)), training=train)
            leaves = named_leaves("output", outputs)
            found = {name: np.asarray(leaf) for name, leaf in leaves.items()}
            return Run(found, self._statistics(parts), tuple(calls))

    def value_and_grad(
        self, weights: Arrays, batch: Any, dtype: str, train: bool, objective: Objective
    ) -> ValueAndGrad:
        """The objective of the outputs, and its gradients."""
        with self._prepared(weights, dtype) as (model, parts):
            inputs = _tensors(cast(batch, dtype))
            leaves = named_leaves("input", inputs)
            floats = {name: leaf for name, leaf in leaves.items() if leaf.dtype.is_floating}
            trained = {
                name: variable.value
                for name, parameter, variable in zip(
                    self._names, _parameters(parts), _variables(parts), strict=True
                )
                if parameter.trained
            }
            with tf.GradientTape() as tape:
                tape.watch([*trained.values(), *floats.values()])
                value = _value(model(inputs, training=train), objective)
            wanted = [*trained.values(), *floats.values()]
            zero = tf.UnconnectedGradients.ZERO
            found = [
                np.asarray(tf.convert_to_tensor(g))
                for g in tape.gradient(value, wanted, unconnected_gradients=zero)
            ]
            return ValueAndGrad(
                value=float(value),
                gradients=dict(zip(trained, found, strict=False)),
                inputs=dict(zip(floats, found[len(trained) :], strict=True)),
                statistics=self._statistics(parts),
            )

    @contextlib.contextmanager
    def _prepared(self, weights: Arrays, dtype: str) -> Iterator[tuple[Any, list[Part]]]:
        """A model at this precision with these weights; its own weights are restored on exit."""
        model, parts = self._models[dtype]
        every = model.variables
        before = [_array(v) for v in every]
        precision = in_float64() if dtype == "float64" else contextlib.nullcontext()
        with precision, _without_dropout(model):
            try:
                for name, variable in zip(self._names, _variables(parts), strict=True):
                    if name in weights:
                        variable.assign(np.asarray(weights[name]).astype(dtype))
                yield model, parts
            finally:
                for variable, value in zip(every, before, strict=True):
                    variable.assign(value)

    def _statistics(self, parts: list[Part]) -> dict[str, np.ndarray]:
        return {
            name: _array(variable)
            for name, parameter, variable in zip(
                self._names, _parameters(parts), _variables(parts), strict=True
            )
            if not parameter.trained
        }


def _parameters(parts: list[Part]) -> list[Any]:
    return [parameter for part in parts for parameter in part.layer.parameters]


def _variables(parts: list[Part]) -> list[Any]:
    return [variable for part in parts for variable in part.variables]


def _array(variable: Any) -> np.ndarray:
    return np.array(variable.value.numpy())


def _tensors(batch: Any) -> Any:
    return jax.tree.map(tf.constant, batch)


def _value(outputs: Any, objective: Objective) -> Any:
    if objective.loss is not None:
        return objective.loss(outputs)
    return tf.add_n(
        [
            tf.reduce_sum(tensor * tf.constant(objective.cotangents[name], tensor.dtype))
            for name, tensor in named_leaves("output", outputs).items()
            if name in objective.cotangents
        ]
    )


@contextlib.contextmanager
def _without_dropout(model: Any) -> Iterator[None]:
    changed = []
    for layer in model._flatten_layers():
        for name in ("rate", "dropout", "recurrent_dropout", "stddev"):
            value = vars(layer).get(name)
            if isinstance(value, float) and value > 0:
                changed.append((layer, name, value))
                object.__setattr__(layer, name, 0.0)
    try:
        yield
    finally:
        for layer, name, value in changed:
            object.__setattr__(layer, name, value)
