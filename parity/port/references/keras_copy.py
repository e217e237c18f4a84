"""A copy of a Keras model that computes in float64."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras


def copy_in_float64(model: Any, batch: Any) -> Any:
    """A model of the same configuration, built, with weights of its own.

    Args:
        model: Functional, sequential, or a subclass that can be made from its configuration.
        batch: What it is called with to be built.

    Raises:
        Exception: Whatever Keras raises where the model cannot be made from its configuration.
    """
    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    with in_float64(), keras.saving.CustomObjectScope(classes):
        config = _in_float64(model.get_config())
        try:
            copy = type(model).from_config(config)
        except TypeError:
            # Keras gives a subclass's constructor also what it may not take, such as `trainable`.
            taken = inspect.signature(type(model).__init__).parameters
            copy = type(model)(**{k: v for k, v in config.items() if k in taken})
        copy(batch, training=False)
    return copy


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Keras's defaults at float64, as long as this lasts."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])


def _in_float64(config: Any) -> Any:
    if isinstance(config, dict):
        return {
            key: _policy(value) if key == "dtype" else _in_float64(value)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return type(config)(_in_float64(value) for value in config)
    return config


def _policy(dtype: Any) -> Any:
    name = dtype["config"].get("name") if isinstance(dtype, dict) else dtype
    floating = isinstance(name, str) and "float" in name
    return "float64" if floating else dtype
