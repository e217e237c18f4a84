"""Runs a PyTorch module without dropout, and records its layers' arrays and its flattens."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.overrides import TorchFunctionMode

from parity.port.layer import Call, Layer

_DROPOUTS = {
    F.dropout,
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    F.alpha_dropout,
    F.feature_alpha_dropout,
    torch.dropout,
}
_FLATTENS = {
    torch.flatten,
    torch.reshape,
    torch.Tensor.flatten,
    torch.Tensor.view,
    torch.Tensor.reshape,
}


class Watch(TorchFunctionMode):
    """Replaces dropout by the identity, and records flattens to two axes.

    Attributes:
        flattened: The input shape of each flatten, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flattened: list[tuple[int, ...]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """PyTorch calls this instead of `func`."""
        named = dict(kwargs or {})
        if func in _DROPOUTS:
            return args[0] if args else named["input"]
        if func is F.scaled_dot_product_attention:
            named["dropout_p"] = 0.0
        found = func(*args, **named)
        if func in _FLATTENS and args and args[0].dim() > 2 and found.dim() == 2:
            self.flattened.append(tuple(args[0].shape))
        return found


class Record:
    """Records the calls of layers, and the shapes before the flattens that feed linear layers.

    Attributes:
        calls: The calls, in the order in which they returned.
        flattened: By name of a linear layer, the shape before the last flatten of fitting size,
            without the batch axis.
    """

    def __init__(self, model: nn.Module, layers: list[tuple[Layer, str]], watch: Watch) -> None:
        self.calls: list[Call] = []
        self.flattened: dict[str, tuple[int, ...]] = {}
        self._watch = watch
        modules = dict(model.named_modules())
        names = dict.fromkeys(name for _, name in layers)
        for name in names:
            of_module = [layer for layer, owner in layers if owner == name]
            modules[name].register_forward_hook(self._hook(of_module), with_kwargs=True)

    def _hook(self, layers: list[Layer]) -> Any:
        def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            inputs = _arrays((args, tuple(kwargs.values())))
            for layer in layers:
                for found in _outputs(module, layer, layers, output):
                    self.calls.append(Call(layer.name, inputs, found))
                if layer.kind == "Linear":
                    self._note_flattened(layer, inputs)

        return note

    def _note_flattened(self, layer: Layer, inputs: tuple[np.ndarray, ...]) -> None:
        for shape in reversed(self._watch.flattened):
            if inputs and inputs[0].ndim == 2 and np.prod(shape[1:]) == inputs[0].shape[1]:
                self.flattened.setdefault(layer.name, shape[1:])
                return


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
    """Disable PyTorch's fused attention, which does not call the layers inside; restore on exit."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _outputs(
    module: Any, layer: Layer, layers: list[Layer], output: Any
) -> list[tuple[np.ndarray, ...]]:
    found = _arrays(output)
    if len(layers) == 1 or not found:
        return [found[:1]] if found else []
    # Stacked and bidirectional recurrent modules return only the last layer's outputs, with both
    # directions concatenated.
    level, _, reverse = layer.name.rpartition(".l")[2].partition("_")
    if int(level) != module.num_layers - 1:
        return []
    if not module.bidirectional:
        return [found[:1]]
    half = found[0].shape[-1] // 2
    return [(found[0][..., half:] if reverse else found[0][..., :half],)]


def _arrays(tree: Any) -> tuple[np.ndarray, ...]:
    if isinstance(tree, torch.Tensor):
        # A copy, because later operations may change the tensor in place.
        return (tree.detach().cpu().numpy().copy(),)
    if isinstance(tree, Mapping):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        return tuple(array for part in tree for array in _arrays(part))
    return ()
