"""Watching a PyTorch module run: its layers' arrays, what is flattened, and no dropout."""

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
    """Makes dropout the identity, and notes what is flattened to two axes.

    Attributes:
        flattened: For each flattening the shape that it was given, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flattened: list[tuple[int, ...]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Called by PyTorch in place of `func`."""
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
    """The calls of some modules' layers, and what each linear layer's input was before.

    Attributes:
        calls: In the order in which they returned.
        flattened: For a layer's name the shape of what was flattened last before it.
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
    """Attention by its layers, not by one fused function that calls none of them."""
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
    # Of stacked and two-way recurrent layers only the last level's outputs are told, side by side.
    level, _, reverse = layer.name.rpartition(".l")[2].partition("_")
    if int(level) != module.num_layers - 1:
        return []
    if not module.bidirectional:
        return [found[:1]]
    half = found[0].shape[-1] // 2
    return [(found[0][..., half:] if reverse else found[0][..., :half],)]


def _arrays(tree: Any) -> tuple[np.ndarray, ...]:
    if isinstance(tree, torch.Tensor):
        # A copy: what follows may change it in place.
        return (tree.detach().cpu().numpy().copy(),)
    if isinstance(tree, Mapping):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        return tuple(array for part in tree for array in _arrays(part))
    return ()
