"""Compares the layers' inputs and outputs, in the candidate's layout."""

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
#: Layers whose weights may be in a cell, while the module around the cell gives the outputs.
_COMPOSITE = (*_RECURRENT, "Attention")
#: Smallest scale of an array, as a share of the largest entry of all arrays.
FLOOR = 1e-8


@dataclasses.dataclass(frozen=True)
class Layerwise:
    """The differences between the layers.

    Attributes:
        differences: Each with its layer's name, in the order in which the reference runs.
        unseen: The layers whose calls were not recorded on both sides.
        user_modules: The layers that are compared with a module of the user's own, which may
            compute more than the layer, such as an activation.
    """

    differences: tuple[tuple[str, Difference], ...]
    unseen: tuple[str, ...]
    user_modules: frozenset[str]

    def without_other_forms(
        self, bound: float, outputs_agree: bool
    ) -> tuple[list[Difference], list[str]]:
        """The differences that count, and the layers that have another form in the port.

        A layer has another form, and its difference does not count, if it is compared with a module
        of the user's own and the next layer's input or the model's outputs agree.
        """
        kept: list[Difference] = []
        other: list[str] = []
        for place, (name, difference) in enumerate(self.differences):
            rest = self.differences[place + 1 :]
            following = (d.error <= bound for n, d in rest if n != name and _is_input(d))
            if (
                name in self.user_modules
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
    """Compare the calls of each layer of the reference with those of its module in the candidate.

    The candidate's output of a layer is that of the innermost module with recorded calls that holds
    all parameters of the layer and none of other layers. A layer's output can be read in several
    ways (channels first or last, all steps or the last one, before or after the activation). The
    reading with the smallest difference counts, because a fault differs from all of them.

    Args:
        layers: The reference's layers.
        mapping: The mapping between the weights.
        reference: The reference's forward pass.
        candidate: The candidate's forward pass.
        kinds: The kind of the Flax layer at each path.
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
        user_modules=frozenset(name for name, place in seen.items() if not kinds.get(place)),
    )


def _is_input(difference: Difference) -> bool:
    return difference.quantity.startswith("input of ")


def modules_of(
    layers: Sequence[Layer], mapping: WeightMapping, places: set[str]
) -> dict[str, tuple[str, ...]]:
    """For each layer, the modules that may compute it and have recorded calls, innermost first."""
    owner = {p.name: layer.name for layer in layers for p in layer.parameters}
    kinds = {layer.name: layer.kind for layer in layers}
    paths: dict[str, set[str]] = {}
    for entry in mapping.entries:
        paths.setdefault(owner[entry.reference], set()).update(entry.candidate)
    found = {}
    for name, own in paths.items():
        others = [path for other, its in paths.items() if other != name for path in its - own]
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
    """The candidate's call that corresponds to the reference's nth call of the layer."""
    for module in modules:
        own = calls_at(calls, module)
        if len(own) == times:
            return own[nth]
        if own and times == 1 and layer.kind in _RECURRENT:
            # The port loops over the time steps, so the cell was called once for each.
            return Call(module, _stacked(own, "inputs"), _stacked(own, "outputs"))
    return None


def _stacked(calls: Sequence[Call], field: str) -> tuple[np.ndarray, ...]:
    columns = zip(*(getattr(call, field) for call in calls), strict=True)
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
        [r for array in ours.inputs for r in _candidate_readings(array, layer)],
        [r for array in theirs.inputs[:1] for r in _input_readings(array, layer)],
        largest,
    )
    # Other shapes are no evidence of a fault, because modules take their inputs in many forms.
    if given is not None and not given.reason.startswith("shape"):
        yield given
    output = _closest(
        f"output of {name}",
        [r for array in ours.outputs for r in _candidate_readings(array, layer)],
        [r for array in theirs.outputs for r in _output_readings(array, layer)],
        largest,
    )
    if output is not None:
        yield output


def _closest(
    quantity: str, ours: list[np.ndarray], theirs: list[np.ndarray], largest: float
) -> Difference | None:
    pairs = [(mine, yours) for yours in theirs for mine in ours]
    same_shape = [(mine, yours) for mine, yours in pairs if mine.shape == yours.shape]
    found = [
        difference_of(quantity, mine, yours, _scale(yours, largest))
        for mine, yours in same_shape or pairs[:1]
    ]
    return min(found, key=lambda difference: difference.error) if found else None


def _scale(array: np.ndarray, largest: float) -> float:
    return max(_largest([array]), FLOOR * largest)


def _largest(arrays: Iterator[np.ndarray] | Sequence[np.ndarray]) -> float:
    sizes = (float(np.max(np.abs(array))) for array in arrays if array.size)
    return max((size for size in sizes if math.isfinite(size)), default=0.0)


def _candidate_readings(array: np.ndarray, layer: Layer) -> Iterator[np.ndarray]:
    yield array
    if layer.kind in _RECURRENT and array.ndim == 3:
        yield array[:, -1]
        yield array[-1]


def _input_readings(array: np.ndarray, layer: Layer) -> Iterator[np.ndarray]:
    yield from _output_readings(array, layer)
    if layer.kind == "Linear" and len(layer.flattened) > 1 and array.ndim == 2:
        unflattened = array.reshape(len(array), *layer.flattened)
        yield np.moveaxis(unflattened, 1, -1).reshape(array.shape)


def _output_readings(array: np.ndarray, layer: Layer) -> Iterator[np.ndarray]:
    if layer.channels_first and array.ndim > 2:
        yield last(array)
    yield array
    if layer.kind in _RECURRENT and array.ndim == 3:
        yield array.swapaxes(0, 1)
        yield array[:, ::-1]
        yield array[::-1].swapaxes(0, 1)
