"""Checks how the layers of a functional Keras model are connected: they must form a chain."""

from collections.abc import Mapping, Sequence
from typing import Any

from chifoumi_jax.convert.untrusted.errors import WeightsError


def check_chain(body: Mapping[str, Any], entries: Sequence[Any], names: Sequence[str]) -> None:
    """Checks that each layer takes only the previous one, once, and that the last is the output.

    Args:
        body: The model's configuration.
        entries: Its layers' configurations.
        names: Their names, in the same order.

    Raises:
        WeightsError: For the first layer that is connected otherwise.
    """
    if len(set(names)) < len(names):
        raise WeightsError("the configuration has two layers with the same name")
    for entry, name, previous in zip(entries, names, [None, *names], strict=False):
        inputs = _inputs(entry.get("inbound_nodes"))
        if inputs != ([] if previous is None else [previous]):
            takes = " and ".join(map(str, inputs)) or "nothing"
            raise WeightsError(
                f"the layer {name!r} takes {takes} as input; expected {previous or 'nothing'} "
                "only, in a chain"
            )
    for key, name in (("input_layers", names[0]), ("output_layers", names[-1])):
        found = _end_layers(body.get(key))
        if found != [name]:
            raise WeightsError(f"the model's {key} are {found}; expected {name!r}")


def _inputs(nodes: Any) -> list[Any]:
    """Returns the names of a layer's input layers, from the nodes of Keras 2.2.4 or 3."""
    if not isinstance(nodes, list):
        raise WeightsError("the configuration does not say how its layers are connected")
    return [name for node in nodes for name in _node_inputs(node)]


def _node_inputs(node: Any) -> list[Any]:
    if isinstance(node, dict):
        if not _is_plain_call(node.get("kwargs")) or not isinstance(node.get("args"), list):
            return [node]
        return [_keras3_input(argument) for argument in node["args"]]
    if isinstance(node, list):
        return [_keras2_input(connection) for connection in node]
    return [node]


def _keras3_input(argument: Any) -> Any:
    """Keras 3: `{"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}`."""
    config = argument.get("config") if isinstance(argument, dict) else None
    history = config.get("keras_history") if isinstance(config, dict) else None
    return history[0] if isinstance(history, list) and history[1:] == [0, 0] else argument


def _keras2_input(connection: Any) -> Any:
    """Keras 2.2.4: `[name, 0, 0, {}]`."""
    fits = isinstance(connection, list) and len(connection) == 4 and connection[1:3] == [0, 0]
    return connection[0] if fits and _is_plain_call(connection[3]) else connection


def _is_plain_call(arguments: Any) -> bool:
    """Whether a call has no arguments besides `training`, unset or false, as Keras 3's dropout."""
    return arguments in ({}, {"training": False}, {"training": None})


def _end_layers(value: Any) -> list[Any]:
    """Returns the names in `[name, 0, 0]` or in a list of such entries."""
    if not isinstance(value, list):
        return [value]
    if value and isinstance(value[0], str):
        return [value[0]]
    return [end[0] if isinstance(end, list) and end else end for end in value]
