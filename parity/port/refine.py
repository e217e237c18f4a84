"""Choosing between layouts that fit the shapes by what the layers then compute."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from parity.comparison import Difference, compare
from parity.port.candidates.base import Leaf
from parity.port.case import Pair
from parity.port.layer import Arrays
from parity.port.mapping.mapping import WeightMapping
from parity.port.mapping.pairing import Paired, mapping_of
from parity.port.rungs.layerwise import compare_layers

#: Implementation of the candidate that are spent on choices.
TRIES = 24
_AGREES = {"float64": 1e-8, "float32": 1e-3}


def refine(
    pair: Pair,
    pairs: Sequence[Paired],
    leaves: Sequence[Leaf],
    weights: Arrays,
    extra: Arrays,
) -> WeightMapping:
    """The mapping by which the outputs agree, or the most plausible one, and which it is.

    Goes from layer to layer: at the first whose output differs, every way of those that are not
    settled yet is tried, and then the exchange with a layer of the same shapes.

    Args:
        pair: Both sides.
        pairs: Layers with their ways.
        leaves: The candidate's.
        weights: Such that no two layouts compute the same by chance.
        extra: The candidate's own values of what no entry fills.
    """
    search = _Search(pair, list(pairs), leaves, weights, extra)
    return search.settle()


class _Search:
    def __init__(
        self,
        pair: Pair,
        pairs: list[Paired],
        leaves: Sequence[Leaf],
        weights: Arrays,
        extra: Arrays,
    ) -> None:
        self.pair, self.leaves, self.weights, self.extra = pair, leaves, weights, extra
        self.layers = pair.reference.layers
        self.theirs = pair.reference.run(weights, pair.batch, pair.dtype, False)
        self.bound = _AGREES[pair.dtype]
        self.tries = 0
        self.pairs = pairs
        self.chosen = [0] * len(pairs)

    def settle(self) -> WeightMapping:
        settled: set[str] = set()
        fault = self._fault(self.pairs, self.chosen)
        while fault is not None:
            better = self._mended(fault, settled)
            if better is None:
                # Choices made on the way to a fault that no choice mends are kept.
                return self._mapping(_note(self.tries, fault))
            self.pairs, self.chosen, fault = better
        return self._mapping("" if self.tries == 1 else f"chosen numerically, {self.tries} passes")

    def _mended(
        self, fault: str, settled: set[str]
    ) -> tuple[list[Paired], list[int], str | None] | None:
        """The first other choice by which the pass agrees beyond the fault."""
        position = self._position(fault)
        for pairs, chosen in self._others(position, settled):
            if self.tries >= TRIES:
                return None
            found = self._fault(pairs, chosen)
            if found is None or self._position(found) > position:
                settled.update(paired.layer.name for paired in pairs[: position + 1])
                return pairs, chosen, found
        return None

    def _others(self, position: int, settled: set[str]) -> Iterator[tuple[list[Paired], list[int]]]:
        unsettled = [
            i
            for i, paired in enumerate(self.pairs[: position + 1])
            if paired.layer.name not in settled and len(paired.ways) > 1
        ]
        # The layer that differs first; then those before it whose outputs were not seen.
        ways = [range(len(self.pairs[i].ways)) for i in reversed(unsettled)]
        for some in itertools.islice(itertools.product(*ways), TRIES):
            chosen = list(self.chosen)
            for i, way in zip(reversed(unsettled), some, strict=True):
                chosen[i] = way
            if chosen != self.chosen:
                yield self.pairs, chosen
        here = min(position, len(self.pairs) - 1)
        for i, j in itertools.combinations(range(len(self.pairs)), 2):
            mine, theirs = self.pairs[i], self.pairs[j]
            alike = mine.signature == theirs.signature and not (mine.given or theirs.given)
            if alike and i <= here and mine.layer.name not in settled:
                yield _exchanged(self.pairs, i, j), list(self.chosen)

    def _position(self, fault: str) -> int:
        """Of the layer that differs first; that of the model's output is after all."""
        names = [paired.layer.name for paired in self.pairs]
        return names.index(fault) if fault in names else len(names)

    def _fault(self, pairs: list[Paired], chosen: list[int]) -> str | None:
        """The layer whose output differs first, "output" if only the model's does."""
        self.tries += 1
        mapping = mapping_of(pairs, chosen, self.layers, self.leaves)
        ours = self.pair.run(
            {**self.extra, **mapping.apply(self.weights)}, self.pair.dtype, train=False
        )
        if not compare(ours.outputs, self.theirs.outputs).first_beyond(self.bound):
            return None
        kinds = self.pair.module_kinds
        layerwise = compare_layers(self.layers, mapping, self.theirs, ours, kinds)
        differences, _ = layerwise.judged(self.bound, outputs_agree=False)
        for difference in differences:
            if not difference.error <= self.bound:
                return _layer_of(difference)
        return "output"

    def _mapping(self, note: str) -> WeightMapping:
        return mapping_of(self.pairs, self.chosen, self.layers, self.leaves, note)


def _layer_of(difference: Difference) -> str:
    return difference.quantity.partition(" of ")[2].partition(" (call ")[0]


def _exchanged(pairs: Sequence[Paired], i: int, j: int) -> list[Paired]:
    """Two layers of the same shapes, each in the other's place."""
    found = list(pairs)
    for mine, theirs in ((i, j), (j, i)):
        names = dict(
            zip(
                (p.name for p in pairs[theirs].layer.parameters),
                (p.name for p in pairs[mine].layer.parameters),
                strict=True,
            )
        )
        ways = tuple(
            tuple(dataclasses.replace(e, reference=names[e.reference]) for e in way)
            for way in pairs[theirs].ways
        )
        found[mine] = Paired(pairs[mine].layer, ways)
    return found


def _note(tries: int, fault: str) -> str:
    if tries == 1:
        return f"{fault} differs in every layout of these weights that fits its shapes"
    return f"{tries} layouts were tried and none makes {fault} agree; the likeliest is taken"
