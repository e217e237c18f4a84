"""The layers' inputs and outputs, side by side, in the candidate's layout."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from parity.comparison import Difference, difference_of
from parity.port.case import calls_at
from parity.port.layer import Call, Layer, Run
from parity.port.mapping.layouts import last
from parity.port.mapping.mapping import WeightMapping

_RECURRENT = ("LSTM", "GRU", "RNN")
#: What a cell's weights are, the module around the cell computes.
_COMPOSITE = (*_RECURRENT, "Attention")
#: Below this share of the largest entry of all, an array's own entries are not its scale.
FLOOR = 1e-8


@dataclasses.dataclass(frozen=True)
class Layerwise:
    """How the layers compare.

    Attributes:
        differences: Each with its layer's name, in the order in which the reference runs.
        unseen: The layers whose calls are not seen on both sides.
        loose: The layers that are compared with a module of the user's own, which may do more
            than the layer does, such as an activation.
    """

    differences: tuple[tuple[str, Difference], ...]
    unseen: tuple[str, ...]
    loose: frozenset[str]

    def judged(self, bound: float, outputs_agree: bool) -> tuple[list[Difference], list[str]]:
        """The differences that count, and the layers of which the port has another form.

        A module of the user's own that differs has another form if all that follows agrees: the
        next layer's input, or the model's outputs.
        """
        kept: list[Difference] = []
        other: list[str] = []
        for place, (name, difference) in enumerate(self.differences):
            rest = self.differences[place + 1 :]
            following = (d.error <= bound for n, d in rest if n != name and _is_input(d))
            if (
                name in self.loose
                and not difference.error <= bound
                and (outputs_agree or next(following, False))
            ):
                other.append(name)
            else:
                kept.append(difference)
        return kept, list(dict.fromkeys(other))


def compare_layers(
    layers: Sequence[Layer],
    mapping: WeightMapping,
    reference: Run,
    candidate: Run,
    kinds: Mapping[str, str],
) -> Layerwise:
    """Compare the calls of each of the reference's layers with its module's in the candidate.

    A layer's output is taken from the innermost module that holds all that the layer's parameters
    went to and none of another layer's, and whose calls can be seen. Of the readings of a layer's
    output (channels first or last, all steps or the last one, before or after the activation)
    that one counts which differs least: a fault differs from them all.

    Args:
        layers: The reference's.
        mapping: Between the weights.
        reference: Its pass.
        candidate: The candidate's pass.
        kinds: What Flax layer stands at which path.
    """
    modules = modules_of(layers, mapping, {call.place for call in candidate.calls})
    by_name = {layer.name: layer for layer in layers}
    largest = _largest(array for call in reference.calls for array in call.outputs)
    found: list[tuple[str, Difference]] = []
    number: dict[str, int] = {}
    seen: dict[str, str] = {}
    for theirs in reference.calls:
        layer = by_name.get(theirs.place)
        if layer is None:
            continue
        nth = number[layer.name] = number.get(layer.name, -1) + 1
        times = len(calls_at(reference.calls, layer.name))
        ours = _matching(modules.get(layer.name, ()), candidate.calls, nth, times, layer)
        if ours is None:
            continue
        seen[layer.name] = ours.place
        name = layer.name if times == 1 else f"{layer.name} (call {nth + 1})"
        found += [(layer.name, d) for d in _differences(name, layer, ours, theirs, largest)]
    return Layerwise(
        differences=tuple(found),
        unseen=tuple(layer.name for layer in layers if layer.name not in seen),
        loose=frozenset(name for name, place in seen.items() if not kinds.get(place)),
    )


def _is_input(difference: Difference) -> bool:
    return difference.quantity.startswith("input of ")


def modules_of(
    layers: Sequence[Layer], mapping: WeightMapping, places: set[str]
) -> dict[str, tuple[str, ...]]:
    """For each layer the modules that stand for it and whose calls are seen, innermost first."""
    owner = {p.name: layer.name for layer in layers for p in layer.parameters}
    kinds = {layer.name: layer.kind for layer in layers}
    paths: dict[str, set[str]] = {}
    for entry in mapping.entries:
        paths.setdefault(owner[entry.reference], set()).update(entry.candidate)
    found = {}
    for name, own in paths.items():
        others = [path for other, some in paths.items() if other != name for path in some - own]
        ancestors = _common_ancestors(own)
        if kinds[name] not in _COMPOSITE:
            ancestors = ancestors[:1]
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
