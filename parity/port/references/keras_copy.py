"""A copy of a Keras model that computes in float64."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import keras


def copy_in_float64(model: Any, batch: Any) -> Any:
    """A built model of the same configuration, with its own weights.

    Args:
        model: A functional or sequential model, or a subclass that Keras can make from its
            configuration.
        batch: The inputs on which the copy is built.

    Raises:
        Exception: Any exception of Keras if it cannot make the model from its configuration.
    """
    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    with in_float64(), keras.saving.CustomObjectScope(classes):
        config = _in_float64(model.get_config())
        try:
            copy = type(model).from_config(config)
        except TypeError:
            # Keras passes arguments that a subclass may not accept, such as `trainable`.
            accepted = inspect.signature(type(model).__init__).parameters
            copy = type(model)(**{k: v for k, v in config.items() if k in accepted})
        copy(batch, training=False)
    return copy


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Set Keras's default precision to float64; restore it on exit."""
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
