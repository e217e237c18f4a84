"""The layers' inputs and outputs, side by side, in the candidate's layout."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from parity.comparison import Difference, difference_of
from parity.port.case import calls_at
from parity.port.layer import Call, Layer, Run
from parity.port.layouts import last
from parity.port.mapping import WeightMapping

_RECURRENT = ("LSTM", "GRU", "RNN")
#: Below this share of the largest entry of all, an array's own entries are not its scale.
FLOOR = 1e-8


def compare_layers(
    layers: Sequence[Layer], mapping: WeightMapping, reference: Run, candidate: Run
) -> tuple[list[Difference], list[str]]:
    """Differences in the order in which the reference runs, and the layers that are not seen.

    A layer's output is taken from the innermost module that holds all that the layer's parameters
    went to and none of another layer's, and whose calls can be seen. Of the readings of a layer's
    output (channels first or last, all steps or the last one, before or after the activation)
    that one counts which differs least: a fault differs from them all.
    """
    modules = modules_of(layers, mapping, {call.place for call in candidate.calls})
    by_name = {layer.name: layer for layer in layers}
    largest = _largest(array for call in reference.calls for array in call.outputs)
    found: list[Difference] = []
    number: dict[str, int] = {}
    seen: set[str] = set()
    for theirs in reference.calls:
        layer = by_name.get(theirs.place)
        if layer is None:
            continue
        nth = number[layer.name] = number.get(layer.name, -1) + 1
        times = len(calls_at(reference.calls, layer.name))
        ours = _matching(modules.get(layer.name, ()), candidate.calls, nth, times, layer)
        if ours is None:
            continue
        seen.add(layer.name)
        name = layer.name if times == 1 else f"{layer.name} (call {nth + 1})"
        found += _differences(name, layer, ours, theirs, largest)
    return found, [layer.name for layer in layers if layer.name not in seen]


def modules_of(
    layers: Sequence[Layer], mapping: WeightMapping, places: set[str]
) -> dict[str, tuple[str, ...]]:
    """For each layer the modules that stand for it and whose calls are seen, innermost first."""
    owner = {p.name: layer.name for layer in layers for p in layer.parameters}
    paths: dict[str, set[str]] = {}
    for entry in mapping.entries:
        paths.setdefault(owner[entry.reference], set()).update(entry.candidate)
    found = {}
    for name, own in paths.items():
        others = [path for other, some in paths.items() if other != name for path in some - own]
        ancestors = _common_ancestors(own)
        found[name] = tuple(
            node
            for node in ancestors
            if node in places and not any(_within(path, node) for path in others)
        )
    return found


def _common_ancestors(paths: set[str]) -> list[str]:
    parts = [path.split(".")[:-1] for path in paths]
    shared = 0
    while all(len(p) > shared and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    return [".".join(parts[0][:depth]) for depth in range(shared, -1, -1)]


def _within(path: str, node: str) -> bool:
    return node == "" or path.startswith(node + ".")


def _matching(
    modules: Sequence[str], calls: Sequence[Call], nth: int, times: int, layer: Layer
) -> Call | None:
    """The candidate's call that is the reference's nth."""
    for module in modules:
        own = calls_at(calls, module)
        if len(own) == times:
            return own[nth]
        if own and times == 1 and layer.kind in _RECURRENT:
            # A loop over the steps: the cell was called once for each.
            return Call(module, _stacked(own, "inputs"), _stacked(own, "outputs"))
    return None


def _stacked(calls: Sequence[Call], side: str) -> tuple[np.ndarray, ...]:
    columns = zip(*(getattr(call, side) for call in calls), strict=True)
    return tuple(
        np.stack(column, axis=1)
        for column in columns
        if len({array.shape for array in column}) == 1 and column[0].ndim
    )


def _differences(
    name: str, layer: Layer, ours: Call, theirs: Call, largest: float
) -> Iterator[Difference]:
    given = _closest(
        f"input of {name}",
        [r for array in ours.inputs for r in _ours(array, layer)],
        [r for array in theirs.inputs[:1] for r in _inputs(array, layer)],
        largest,
    )
    # Shapes that differ tell nothing here: modules take their inputs in many forms.
    if given is not None and not given.reason.startswith("shape"):
        yield given
    output = _closest(
        f"output of {name}",
        [r for array in ours.outputs for r in _ours(array, layer)],
        [r for array in theirs.outputs for r in _outputs(array, layer)],
        largest,
    )
    if output is not None:
        yield output


def _closest(
    quantity: str, ours: list[np.ndarray], theirs: list[np.ndarray], largest: float
) -> Difference | None:
    pairs = [(mine, yours) for yours in theirs for mine in ours]
    alike = [(mine, yours) for mine, yours in pairs if mine.shape == yours.shape]
    found = [
        difference_of(quantity, mine, yours, _scale(yours, largest))
        for mine, yours in alike or pairs[:1]
    ]
    return min(found, key=lambda difference: difference.error) if found else None


def _scale(array: np.ndarray, largest: float) -> float:
    return max(_largest([array]), FLOOR * largest)


def _largest(arrays: Iterator[np.ndarray] | Sequence[np.ndarray]) -> float:
    sizes = (float(np.max(np.abs(array))) for array in arrays if array.size)
    return max((size for size in sizes if math.isfinite(size)), default=0.0)


def _ours(array: np.ndarray, layer: Layer) -> Iterator[np.ndarray]:
    yield array
    if layer.kind in _RECURRENT and array.ndim == 3:
        yield array[:, -1]
        yield array[-1]


def _inputs(array: np.ndarray, layer: Layer) -> Iterator[np.ndarray]:
    yield from _outputs(array, layer)
    if layer.kind == "Linear" and len(layer.flattened) > 1 and array.ndim == 2:
        whole = array.reshape(len(array), *layer.flattened)
        yield np.moveaxis(whole, 1, -1).reshape(array.shape)


def _outputs(array: np.ndarray, layer: Layer) -> Iterator[np.ndarray]:
    if layer.channels_first and array.ndim > 2:
        yield last(array)
    yield array
    if layer.kind in _RECURRENT and array.ndim == 3:
        yield array.swapaxes(0, 1)
        yield array[:, ::-1]
        yield array[::-1].swapaxes(0, 1)
