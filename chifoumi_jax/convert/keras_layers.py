"""Checks each layer of a Keras configuration: its class and its settings."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from chifoumi_jax.convert.untrusted.errors import WeightsError

_ANY = object()

# Settings that each layer's configuration must have.
_REQUIRED: dict[str, dict[str, Any]] = {
    "InputLayer": {},
    "Conv2D": {
        "filters": _ANY,
        "kernel_size": (3, 3),
        "strides": (1, 1),
        "padding": "valid",
        "data_format": "channels_last",
        "dilation_rate": (1, 1),
        "activation": _ANY,
        "use_bias": True,
    },
    "MaxPooling2D": {
        "pool_size": (2, 2),
        "strides": (2, 2),
        "padding": "valid",
        "data_format": "channels_last",
    },
    "Flatten": {"data_format": "channels_last"},
    "Dense": {"units": _ANY, "activation": _ANY, "use_bias": True},
    "Activation": {"activation": _ANY},
    "ReLU": {"max_value": None, "negative_slope": 0, "threshold": 0},
    "Softmax": {"axis": -1},
    "Dropout": {"rate": _ANY},
}
# Settings added after Keras 2.2.4, or that may be left out, with their defaults.
_OPTIONAL: dict[str, dict[str, Any]] = {
    "Conv2D": {"groups": 1, "lora_rank": None},
    "Dense": {"quantization_config": None, "lora_rank": None},
    "Dropout": {"noise_shape": None},
}
_REFUSED = {
    "Lambda": "which holds code; it is not run",
    "Rescaling": "which would change the images; leave it out and give images in [0, 1]",
}


class Layer(NamedTuple):
    """A layer of the network.

    Attributes:
        name: The name that the user gave it.
        class_name: Its class.
        settings: Its configuration; the settings that the class requires are already checked.
    """

    name: str
    class_name: str
    settings: Mapping[str, Any]


def read_layer(entry: Any, dtype: str) -> Layer:
    """Reads one entry of a model's `layers`.

    Raises:
        WeightsError: If its class is not one of the network's, or a setting differs.
    """
    settings = entry.get("config") if isinstance(entry, dict) else None
    name = settings.get("name") if isinstance(settings, dict) else None
    if not isinstance(settings, dict) or not isinstance(name, str):
        raise WeightsError("the configuration has a layer without a name")
    class_name = entry.get("class_name")
    if not isinstance(class_name, str) or class_name not in _REQUIRED:
        reason = _REFUSED.get(str(class_name), "which is not part of the study's network")
        raise WeightsError(f"the layer {name!r} is a {class_name}, {reason}")
    check_origin(entry, f"the layer {name!r}")
    layer = Layer(name, class_name, settings)
    for key, expected in _REQUIRED[class_name].items():
        if key not in settings:
            raise WeightsError(f"the layer {name!r} ({class_name}) does not say its {key}")
        _check_setting(layer, key, settings[key], expected)
    for key, expected in _OPTIONAL.get(class_name, {}).items():
        _check_setting(layer, key, settings.get(key, expected), expected)
    # Images may have any dtype.
    if class_name != "InputLayer":
        _check_setting(layer, "dtype", _policy_name(settings.get("dtype", dtype)), dtype)
    return layer


def check_origin(node: Any, what: str) -> None:
    """Refuses classes and functions that are not Keras' own, anywhere in `node`.

    Raises:
        WeightsError: For the first one, with its name; `what` names the whole node in the message.
    """
    if isinstance(node, list):
        for child in node:
            check_origin(child, what)
    if not isinstance(node, dict):
        return
    module, registered = node.get("module"), node.get("registered_name")
    if module is not None and str(module).split(".")[0] != "keras":
        raise WeightsError(f"{what} uses {node.get('class_name')} of the module {module}")
    if registered is not None and registered != node.get("class_name"):
        raise WeightsError(f"{what} uses the registered object {registered}")
    for key, child in node.items():
        # The training configuration is not used.
        if key != "compile_config":
            check_origin(child, what)


def _check_setting(layer: Layer, key: str, found: Any, expected: Any) -> None:
    if expected is _ANY:
        return
    if isinstance(expected, tuple):
        pair = (found, found) if isinstance(found, int) else found
        fits = isinstance(pair, list | tuple) and tuple(pair) == expected
    else:
        fits = found == expected and isinstance(found, bool) == isinstance(expected, bool)
    if not fits:
        raise WeightsError(
            f"the layer {layer.name!r} ({layer.class_name}) has {key} {found!r}; "
            f"expected {expected!r}"
        )


def _policy_name(dtype: Any) -> Any:
    """Returns the name of a dtype, which Keras 3 wraps in a policy."""
    config = dtype.get("config") if isinstance(dtype, dict) else None
    return config.get("name") if isinstance(config, dict) else dtype
