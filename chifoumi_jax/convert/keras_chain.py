"""How the layers of a functional Keras model hang together: here, one behind the other."""

from collections.abc import Mapping, Sequence
from typing import Any

from chifoumi_jax.convert.untrusted.errors import WeightsError


def check_chain(body: Mapping[str, Any], entries: Sequence[Any], names: Sequence[str]) -> None:
    """Check that every layer takes the one before it, once, and that the last is the output.

    Args:
        body: The model's configuration.
        entries: Its layers' configurations.
        names: Their names, in the same order.

    Raises:
        WeightsError: For the first layer where it is otherwise.
    """
    if len(set(names)) < len(names):
        raise WeightsError("the configuration has two layers of one name")
    for entry, name, before in zip(entries, names, [None, *names], strict=False):
        inputs = _inputs(entry.get("inbound_nodes"))
        if inputs != ([] if before is None else [before]):
            takes = " and ".join(map(str, inputs)) or "nothing"
            raise WeightsError(
                f"the layer {name!r} takes {takes}; expected {before or 'nothing'} alone, "
                "in a chain"
            )
    for key, name in (("input_layers", names[0]), ("output_layers", names[-1])):
        if _ends(body.get(key)) != [name]:
            raise WeightsError(f"the model's {key} are {_ends(body.get(key))}; expected {name!r}")


def _inputs(nodes: Any) -> list[Any]:
    """Names of the layers that a layer's nodes take, of Keras 2.2.4 or 3."""
    if not isinstance(nodes, list):
        raise WeightsError("the configuration does not say how its layers hang together")
    return [name for node in nodes for name in _node_inputs(node)]


def _node_inputs(node: Any) -> list[Any]:
    if isinstance(node, dict):
        if not _plain(node.get("kwargs")) or not isinstance(node.get("args"), list):
            return [node]
        return [_history(argument) for argument in node["args"]]
    if isinstance(node, list):
        return [_connection(connection) for connection in node]
    return [node]


def _history(argument: Any) -> Any:
    """Keras 3: `{"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}`."""
    config = argument.get("config") if isinstance(argument, dict) else None
    history = config.get("keras_history") if isinstance(config, dict) else None
    return history[0] if isinstance(history, list) and history[1:] == [0, 0] else argument


def _connection(connection: Any) -> Any:
    """Keras 2.2.4: `[name, 0, 0, {}]`."""
    fits = isinstance(connection, list) and len(connection) == 4 and connection[1:3] == [0, 0]
    return connection[0] if fits and _plain(connection[3]) else connection


def _plain(arguments: Any) -> bool:
    """Whether a call has no arguments but that it is no training, as Keras 3 notes for dropout."""
    return arguments in ({}, {"training": False}, {"training": None})


def _ends(value: Any) -> list[Any]:
    """Names in `[name, 0, 0]` or in a list of such."""
    if not isinstance(value, list):
        return [value]
    if value and isinstance(value[0], str):
        return [value[0]]
    return [end[0] if isinstance(end, list) and end else end for end in value]
