"""Chooses between weight layouts that fit the shapes, by comparing the layers' outputs."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from parity.comparison import Difference, compare
from parity.port.candidates.base import Leaf
from parity.port.case import Pair
from parity.port.layer import Arrays
from parity.port.mapping.mapping import WeightMapping
from parity.port.mapping.pairing import PairedLayer, mapping_of
from parity.port.rungs.layerwise import compare_layers

#: The largest number of forward passes of the candidate that the choice may take.
MAX_PASSES = 24
_AGREES = {"float64": 1e-8, "float32": 1e-3}


def refine(
    pair: Pair,
    pairs: Sequence[PairedLayer],
    leaves: Sequence[Leaf],
    weights: Arrays,
    extra: Arrays,
) -> WeightMapping:
    """The mapping with which the outputs agree, else the most plausible one; its note says which.

    The search goes from layer to layer. At the first layer whose output differs, it tries every
    option of this layer and of earlier layers that are not settled yet, then swaps of layers with
    equal shapes.

    Args:
        pair: Both sides.
        pairs: The layers with their mapping options.
        leaves: The candidate's parameters and statistics.
        weights: Weights with which no two layouts give the same outputs by chance.
        extra: The candidate's own values of the parameters that the mapping does not fill.
    """
    search = _Search(pair, list(pairs), leaves, weights, extra)
    return search.settle()


class _Search:
    def __init__(
        self,
        pair: Pair,
        pairs: list[PairedLayer],
        leaves: Sequence[Leaf],
        weights: Arrays,
        extra: Arrays,
    ) -> None:
        self.pair, self.leaves, self.weights, self.extra = pair, leaves, weights, extra
        self.layers = pair.reference.layers
        self.theirs = pair.reference.run(weights, pair.batch, pair.dtype, False)
        self.bound = _AGREES[pair.dtype]
        self.passes = 0
        self.pairs = pairs
        self.chosen = [0] * len(pairs)

    def settle(self) -> WeightMapping:
        settled: set[str] = set()
        fault = self._first_fault(self.pairs, self.chosen)
        while fault is not None:
            better = self._better_choice(fault, settled)
            if better is None:
                # Earlier choices are kept, even if no choice removes this fault.
                return self._mapping(_note(self.passes, fault))
            self.pairs, self.chosen, fault = better
        note = "" if self.passes == 1 else f"chosen numerically, {self.passes} passes"
        return self._mapping(note)

    def _better_choice(
        self, fault: str, settled: set[str]
    ) -> tuple[list[PairedLayer], list[int], str | None] | None:
        """The first other choice with which the outputs agree beyond the fault."""
        position = self._position(fault)
        for pairs, chosen in self._others(position, settled):
            if self.passes >= MAX_PASSES:
                return None
            found = self._first_fault(pairs, chosen)
            if found is None or self._position(found) > position:
                settled.update(paired.layer.name for paired in pairs[: position + 1])
                return pairs, chosen, found
        return None

    def _others(
        self, position: int, settled: set[str]
    ) -> Iterator[tuple[list[PairedLayer], list[int]]]:
        """The other options up to this position, then the swaps with layers of equal shapes."""
        unsettled = [
            i
            for i, paired in enumerate(self.pairs[: position + 1])
            if paired.layer.name not in settled and len(paired.options) > 1
        ]
        # Reversed: first the layer that differs, then earlier layers with unseen outputs.
        numbers = [range(len(self.pairs[i].options)) for i in reversed(unsettled)]
        for combination in itertools.islice(itertools.product(*numbers), MAX_PASSES):
            chosen = list(self.chosen)
            for i, option in zip(reversed(unsettled), combination, strict=True):
                chosen[i] = option
            if chosen != self.chosen:
                yield self.pairs, chosen
        here = min(position, len(self.pairs) - 1)
        for i, j in itertools.combinations(range(len(self.pairs)), 2):
            mine, theirs = self.pairs[i], self.pairs[j]
            same = mine.signature == theirs.signature and not (mine.given or theirs.given)
            if same and i <= here and mine.layer.name not in settled:
                yield _swapped(self.pairs, i, j), list(self.chosen)

    def _position(self, fault: str) -> int:
        """Index of the layer that differs first; the model's output comes after all layers."""
        names = [paired.layer.name for paired in self.pairs]
        return names.index(fault) if fault in names else len(names)

    def _first_fault(self, pairs: list[PairedLayer], chosen: list[int]) -> str | None:
        """The first layer whose output differs, "output" if only the model's differs, or None."""
        self.passes += 1
        mapping = mapping_of(pairs, chosen, self.layers, self.leaves)
        ours = self.pair.run(
            {**self.extra, **mapping.apply(self.weights)}, self.pair.dtype, train=False
        )
        if not compare(ours.outputs, self.theirs.outputs).first_beyond(self.bound):
            return None
        kinds = self.pair.module_kinds
        layerwise = compare_layers(self.layers, mapping, self.theirs, ours, kinds)
        differences, _ = layerwise.without_other_forms(self.bound, outputs_agree=False)
        for difference in differences:
            if not difference.error <= self.bound:
                return _layer_of(difference)
        return "output"

    def _mapping(self, note: str) -> WeightMapping:
        return mapping_of(self.pairs, self.chosen, self.layers, self.leaves, note)


def _layer_of(difference: Difference) -> str:
    return difference.quantity.partition(" of ")[2].partition(" (call ")[0]


def _swapped(pairs: Sequence[PairedLayer], i: int, j: int) -> list[PairedLayer]:
    """The pairs with two layers of equal shapes in each other's place."""
    found = list(pairs)
    for mine, theirs in ((i, j), (j, i)):
        names = dict(
            zip(
                (p.name for p in pairs[theirs].layer.parameters),
                (p.name for p in pairs[mine].layer.parameters),
                strict=True,
            )
        )
        options = tuple(
            tuple(dataclasses.replace(e, reference=names[e.reference]) for e in option)
            for option in pairs[theirs].options
        )
        found[mine] = PairedLayer(pairs[mine].layer, options)
    return found


def _note(passes: int, fault: str) -> str:
    if passes == 1:
        return f"{fault} differs in every layout of these weights that fits its shapes"
    return f"{passes} layouts were tried and none makes {fault} agree; the most plausible is used"
