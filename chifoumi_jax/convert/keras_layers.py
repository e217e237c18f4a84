"""The layers of a Keras configuration, one by one: which are accepted, and with which settings."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from chifoumi_jax.convert.untrusted.errors import WeightsError

_ANY = object()

# For each layer what its configuration must say.
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
# What came after Keras 2.2.4, or is left out; the value is the default.
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
        name: The user's name of it.
        kind: Its class.
        settings: Its configuration, in which all that the class fixes is as it must be.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]


def read_layer(entry: Any, dtype: str) -> Layer:
    """One entry of a model's `layers`.

    Raises:
        WeightsError: If its class is not one of the network's, or a setting differs.
    """
    settings = entry.get("config") if isinstance(entry, dict) else None
    name = settings.get("name") if isinstance(settings, dict) else None
    if not isinstance(settings, dict) or not isinstance(name, str):
        raise WeightsError("the configuration has a layer without a name")
    kind = entry.get("class_name")
    if not isinstance(kind, str) or kind not in _REQUIRED:
        reason = _REFUSED.get(str(kind), "which is not part of the study's network")
        raise WeightsError(f"the layer {name!r} is a {kind}, {reason}")
    check_origin(entry, f"the layer {name!r}")
    layer = Layer(name, kind, settings)
    for key, wanted in _REQUIRED[kind].items():
        if key not in settings:
            raise WeightsError(f"the layer {name!r} ({kind}) does not say its {key}")
        _check_setting(layer, key, settings[key], wanted)
    for key, wanted in _OPTIONAL.get(kind, {}).items():
        _check_setting(layer, key, settings.get(key, wanted), wanted)
    # Images may come in any type.
    if kind != "InputLayer":
        _check_setting(layer, "dtype", _policy(settings.get("dtype", dtype)), dtype)
    return layer


def check_origin(node: Any, what: str) -> None:
    """Refuse classes and functions that are not Keras' own, wherever they stand in `node`.

    Raises:
        WeightsError: For the first, by its name; errors call the whole `what`.
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
        # How the model was trained is not read.
        if key != "compile_config":
            check_origin(child, what)


def _check_setting(layer: Layer, key: str, found: Any, wanted: Any) -> None:
    if wanted is _ANY:
        return
    if isinstance(wanted, tuple):
        pair = (found, found) if isinstance(found, int) else found
        fits = isinstance(pair, list | tuple) and tuple(pair) == wanted
    else:
        fits = found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
    if not fits:
        raise WeightsError(
            f"the layer {layer.name!r} ({layer.kind}) has {key} {found!r}; expected {wanted!r}"
        )


def _policy(dtype: Any) -> Any:
    """The name of a type, which Keras 3 wraps in a policy."""
    config = dtype.get("config") if isinstance(dtype, dict) else None
    return config.get("name") if isinstance(config, dict) else dtype
