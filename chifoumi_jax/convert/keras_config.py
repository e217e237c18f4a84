"""Compares a Keras model's configuration with the study's network; nothing in it is ever run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from chifoumi_jax.convert.keras_chain import check_chain
from chifoumi_jax.convert.keras_layers import Layer, check_origin, read_layer
from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_CLASSES, MAX_IMAGE_SIZE
from chifoumi_jax.models.cnn import MIN_IMAGE_SIZE

_MODELS = ("Sequential", "Functional", "Model")
_RELU, _SOFTMAX = "activation relu", "activation softmax"
_BEFORE_DROPOUT = (
    *("Conv2D with 32 filters", _RELU, "MaxPooling2D") * 2,
    *("Conv2D with 64 filters", _RELU, "MaxPooling2D"),
    *("Flatten", "Dense with 64 units", _RELU),
)


class Network(NamedTuple):
    """What a valid configuration says about the network.

    Attributes:
        image_size: Height and width of its images, in pixels; None if it is not given.
        num_classes: Units of the last layer.
        dropout_rate: The dropout rate; 0 if there is no dropout.
        layers: Names of the five layers that have weights, in order.
    """

    image_size: int | None
    num_classes: int
    dropout_rate: float
    layers: tuple[str, ...]


def check_config(config: Any, dtype: str) -> Network:
    """Compares a model's configuration (`model.to_json()`, parsed) with the study's network.

    It accepts a chain of layers, Sequential or functional, of Keras 2.2.4 or 3. Activations may be
    separate layers or arguments of Conv2D and Dense. The last softmax and the dropout are optional.

    Args:
        config: The configuration.
        dtype: The dtype in which the network must compute.

    Raises:
        WeightsError: For the first difference.
    """
    if not isinstance(config, dict):
        raise WeightsError("the configuration is not that of a model")
    class_name, body = config.get("class_name"), config.get("config")
    if class_name not in _MODELS:
        raise WeightsError(f"the model is a {class_name}; expected {', '.join(_MODELS)}")
    entries = body.get("layers") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(entries, list) or not entries:
        raise WeightsError("the configuration names no layers")
    layers = [read_layer(entry, dtype) for entry in entries]
    check_origin(config, "the model")
    if class_name != "Sequential":
        check_chain(body, entries, [layer.name for layer in layers])
    if any(layer.class_name == "InputLayer" for layer in layers[1:]):
        raise WeightsError("an InputLayer comes after the first layer")
    return Network(
        image_size=_image_size(config, body, layers[0]),
        num_classes=_num_classes(layers),
        dropout_rate=_dropout_rate(layers),
        layers=tuple(layer.name for layer in layers if layer.class_name in ("Conv2D", "Dense")),
    )


def _num_classes(layers: Sequence[Layer]) -> int:
    """Returns the units of the last layer, after checking that all operations are the network's."""
    operations = list(_operations(layers))
    dropout_index = len(_BEFORE_DROPOUT)
    if len(operations) > dropout_index and operations[dropout_index][0] == "Dropout":
        del operations[dropout_index]
    dense = [layer for layer in layers if layer.class_name == "Dense"]
    classes = dense[-1].settings["units"] if dense else 0
    expected_operations = [*_BEFORE_DROPOUT, f"Dense with {classes} units", _SOFTMAX]
    for (operation, name), expected in zip(operations, expected_operations, strict=False):
        if operation != expected:
            raise WeightsError(f"the layer {name!r} gives {operation}; expected {expected}")
    if len(operations) > len(expected_operations):
        _, name = operations[len(expected_operations)]
        raise WeightsError(f"the layer {name!r} comes after the last expected one")
    if len(operations) < len(expected_operations) - 1:
        raise WeightsError(f"the network ends before {expected_operations[len(operations)]}")
    if type(classes) is not int or not 1 <= classes <= MAX_CLASSES:
        raise WeightsError(f"the last layer has {classes!r} units; expected 1 to {MAX_CLASSES}")
    return classes


def _operations(layers: Sequence[Layer]) -> Iterator[tuple[str, str]]:
    """Yields each operation in order with its layer's name; a layer may have an activation too."""
    for name, kind, settings in layers:
        if kind == "Conv2D":
            yield f"Conv2D with {settings['filters']} filters", name
        elif kind == "Dense":
            yield f"Dense with {settings['units']} units", name
        elif kind in ("ReLU", "Softmax"):
            yield f"activation {kind.lower()}", name
        elif kind not in ("InputLayer", "Activation"):
            yield kind, name
        if settings.get("activation", "linear") != "linear":
            yield f"activation {settings['activation']}", name


def _dropout_rate(layers: Sequence[Layer]) -> float:
    rates = [layer.settings["rate"] for layer in layers if layer.class_name == "Dropout"]
    rate = rates[0] if rates else 0.0
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise WeightsError(f"the dropout has rate {rate!r}; expected 0 up to, but not including, 1")
    return float(rate)


def _image_size(config: Mapping[str, Any], body: Mapping[str, Any], first: Layer) -> int | None:
    """Returns the image size that the first layer or the model gives."""
    build = config.get("build_config")
    shapes = [
        first.settings.get("batch_shape"),
        first.settings.get("batch_input_shape"),
        build.get("input_shape") if isinstance(build, dict) else None,
        body.get("build_input_shape"),
    ]
    sizes = {_square_size(shape, first.name) for shape in shapes if shape is not None}
    if len(sizes) > 1:
        raise WeightsError(f"the configuration gives two image sizes: {sorted(sizes)}")
    return sizes.pop() if sizes else None


def _square_size(shape: Any, name: str) -> int:
    fits = (
        isinstance(shape, list)
        and len(shape) == 4
        and all(isinstance(axis, int) for axis in shape[1:])
        and shape[1] == shape[2]
        and MIN_IMAGE_SIZE <= shape[1] <= MAX_IMAGE_SIZE
        and shape[3] == 3
    )
    if not fits:
        raise WeightsError(
            f"the layer {name!r} takes {shape!r}; expected [null, size, size, 3] with a size of "
            f"{MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE}"
        )
    return int(shape[1])
