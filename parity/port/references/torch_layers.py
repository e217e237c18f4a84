"""Finds the layers of a PyTorch module that hold parameters."""

import itertools
from collections.abc import Iterator
from typing import Any

from torch import nn

from parity.port.layer import Layer, Parameter

_KINDS: tuple[tuple[tuple[type[nn.Module], ...], str], ...] = (
    ((nn.Linear,), "Linear"),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), "ConvTranspose"),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), "Conv"),
    ((nn.modules.batchnorm._BatchNorm,), "BatchNorm"),
    ((nn.LayerNorm, nn.GroupNorm, nn.RMSNorm), "Norm"),
    ((nn.Embedding,), "Embedding"),
    ((nn.PReLU,), "PReLU"),
    ((nn.LSTM, nn.LSTMCell), "LSTM"),
    ((nn.GRU, nn.GRUCell), "GRU"),
    ((nn.RNN, nn.RNNCell), "RNN"),
    ((nn.MultiheadAttention,), "Attention"),
)
_GATES = {"LSTM": "ifgo", "GRU": "rzn", "RNN": "n"}
_CHANNELS_FIRST = ("Conv", "ConvTranspose", "BatchNorm", "PReLU")
_ROLES = {
    "Linear": {"weight": "kernel", "bias": "bias"},
    "Conv": {"weight": "kernel", "bias": "bias"},
    "ConvTranspose": {"weight": "kernel", "bias": "bias"},
    "BatchNorm": {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"},
    "Norm": {"weight": "scale", "bias": "bias"},
    "Embedding": {"weight": "embedding"},
    "PReLU": {"weight": "slope"},
}
_RECURRENT = {
    "weight_ih": "input",
    "weight_hh": "hidden",
    "bias_ih": "input bias",
    "bias_hh": "hidden bias",
}


def layers_of(model: nn.Module) -> list[tuple[Layer, str]]:
    """Each layer with the name of the module that holds it, in the module's own order."""
    seen: set[int] = set()
    found: list[tuple[Layer, str]] = []
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        kind = next((kind for classes, kind in _KINDS if isinstance(module, classes)), "Other")
        composite = kind in _GATES or kind == "Attention"
        if composite:
            inside = (*inside, f"{name}." if name else "")
        parameters = list(_parameters(module, name, kind, composite, seen))
        for suffix, group in _split(kind, parameters):
            layer = Layer(
                name=name + suffix or type(model).__name__,
                kind=kind,
                framework="torch",
                parameters=tuple(group),
                gates=_GATES.get(kind, ""),
                channels_first=_channels_first(module, kind),
            )
            found.append((layer, name))
    return found


def _parameters(
    module: nn.Module, name: str, kind: str, recurse: bool, seen: set[int]
) -> Iterator[Parameter]:
    buffers = [
        (key, buffer)
        for key, buffer in module.named_buffers(recurse=recurse)
        if buffer.is_floating_point()
    ]
    named = itertools.chain(module.named_parameters(recurse=recurse), buffers)
    for key, tensor in named:
        # A tensor that is tied to an earlier one is the same parameter.
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        yield Parameter(
            name=f"{name}.{key}" if name else key,
            role=_role(kind, key),
            shape=tuple(tensor.shape),
            trained=isinstance(tensor, nn.Parameter),
            optional=not isinstance(tensor, nn.Parameter) and kind != "BatchNorm",
        )


def _role(kind: str, key: str) -> str:
    if kind in _GATES:
        return next((role for start, role in _RECURRENT.items() if key.startswith(start)), key)
    return _ROLES.get(kind, {}).get(key, key)


def _split(kind: str, parameters: list[Parameter]) -> Iterator[tuple[str, list[Parameter]]]:
    """A recurrent module's parameters by layer and direction (suffix such as `_l0_reverse`)."""
    if kind not in _GATES:
        if parameters:
            yield "", parameters
        return
    groups: dict[str, list[Parameter]] = {}
    for parameter in parameters:
        _, found, suffix = parameter.name.rpartition("_l")
        groups.setdefault(found and f".l{suffix}", []).append(parameter)
    for suffix, group in groups.items():
        yield (suffix if len(groups) > 1 else ""), group


def _channels_first(module: Any, kind: str) -> bool:
    return kind in _CHANNELS_FIRST or isinstance(module, nn.GroupNorm)
