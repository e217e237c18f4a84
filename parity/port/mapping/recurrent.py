"""The ways in which a recurrent layer's weights fill the arrays of a cell."""

import itertools
import re
from collections.abc import Iterator, Mapping

from parity.port.layer import Layer
from parity.port.mapping.gates import ORDERS, Source, Target, sources
from parity.port.mapping.mapping import Entry

Shapes = Mapping[str, tuple[int, ...]]
Entries = tuple[Entry, ...]

_GATE = re.compile(r"(?:^|\.)([ih])([ifgorzn])_?\.(kernel|bias)$")
_HIDDEN = {"h", "hh", "recurrent", "rec", "hidden", "state", "u", "wh", "bh"}


def fits(layer: Layer, shapes: Shapes, kind: str) -> list[Entries]:
    """The most plausible first; none if the arrays do not fit.

    Args:
        layer: A recurrent layer of the reference.
        shapes: Of the candidate's arrays, by path.
        kind: The cell's, if it is one of Flax's own.
    """
    if shapes and all(_GATE.search(path) for path in shapes):
        ways = _apart(layer, shapes)
    else:
        ways = _joined(layer, shapes, kind)
    return [entries for entries in ways if _shapes_agree(entries, shapes)]


def _apart(layer: Layer, shapes: Shapes) -> Iterator[Entries]:
    """A linear layer for each gate, as Flax's cells have: `ii`, `if`, …, `ho`."""
    paths: dict[tuple[str, str, str], str] = {}
    for path in shapes:
        found = _GATE.search(path)
        assert found is not None
        side, gate, what = found.groups()
        paths[side, gate, what] = path
    if {gate for _, gate, _ in paths} != set(layer.gates):
        return
    entries = []
    for source in sources(layer):
        what = "bias" if source.is_bias else "kernel"
        targets = []
        for gate in layer.gates:
            sides = [source.side]
            if source.merges(gate):
                sides.append("h" if source.side == "i" else "i")
            known = [paths[side, gate, what] for side in sides if (side, gate, what) in paths]
            targets += [Target(path, shapes[path], gate) for path in known[:1]]
        if targets:
            entries.append(source.entry(targets))
    yield tuple(entries)


def _joined(layer: Layer, shapes: Shapes, kind: str) -> Iterator[Entries]:
    """All gates in one array."""
    every = sources(layer)
    kernels = [source for source in every if not source.is_bias]
    biases = [source for source in every if source.is_bias]
    matrices = [
        path for path, shape in shapes.items() if len(shape) == 2 and not _rows(path, shape)
    ]
    vectors = [path for path in shapes if path not in matrices]
    if len(matrices) != len(kernels):
        return
    orders: tuple[str, ...] = ("rzn",) if kind == "GRU" else ORDERS[layer.kind]
    # The reference's own order first: a port that keeps the arrays as they are is the likeliest.
    for order in sorted(orders, key=lambda order: order != layer.gates):
        for matched in _by_side(kernels, matrices):
            placed = [_matrix(source, path, shapes[path], order) for source, path in matched]
            for entries in _biases(biases, vectors, shapes, order):
                yield (*placed, *entries)


def _rows(path: str, shape: tuple[int, ...]) -> bool:
    # Keras keeps the two biases of a GRU as two rows.
    return shape[0] == 2 and path.rpartition(".")[2].startswith("b")


def _matrix(source: Source, path: str, shape: tuple[int, ...], order: str) -> Entry:
    joined = source.width * len(order)
    transposed = shape != (source.rows, joined) and shape == (joined, source.rows)
    return source.entry([Target(path, shape, order, transposed=transposed)])


def _biases(
    biases: list[Source], vectors: list[str], shapes: Shapes, order: str
) -> Iterator[Entries]:
    if not biases or not vectors:
        yield ()
    elif len(vectors) == 1 and len(shapes[vectors[0]]) == 2:
        target = [Target(vectors[0], shapes[vectors[0]], order, row=row) for row in (0, 1)]
        yield tuple(s.entry([target["ih".index(s.side)]]) for s in biases)
    elif len(biases) == 2 and len(vectors) == 1:
        merged = []
        for source in biases:
            gates = "".join(gate if source.merges(gate) else "." for gate in order)
            merged.append(source.entry([Target(vectors[0], shapes[vectors[0]], gates)]))
        yield tuple(merged)
    else:
        for matched in _by_side(biases, vectors):
            yield tuple(s.entry([Target(path, shapes[path], order)]) for s, path in matched)


def _by_side(every: list[Source], paths: list[str]) -> list[list[tuple[Source, str]]]:
    """Each source with a path, those whose names say the same side first."""
    matched = [
        list(zip(every, chosen, strict=True))
        for chosen in itertools.permutations(paths, len(every))
    ]
    return sorted(
        matched, key=lambda pairs: -sum(source.side == _side(path) for source, path in pairs)
    )


def _side(path: str) -> str:
    words = set(re.split(r"[^a-z]+", path.lower().partition(".")[2] or path.lower()))
    return "h" if words & _HIDDEN else "i"


def _shapes_agree(entries: Entries, shapes: Shapes) -> bool:
    return bool(entries) and all(
        entry.places is not None
        and all(
            piece.shape == shapes[path]
            for path, piece in zip(entry.candidate, entry.places, strict=True)
        )
        for entry in entries
    )
