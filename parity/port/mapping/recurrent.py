"""The possible mappings of a recurrent layer's weights to the arrays of a cell."""

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


def mapping_options(layer: Layer, shapes: Shapes, kind: str) -> list[Entries]:
    """The possible mappings, the most plausible first; an empty list if the arrays do not fit.

    Args:
        layer: A recurrent layer of the reference.
        shapes: Shapes of the candidate's arrays, by path.
        kind: The kind of the cell if it is one of Flax's own, or an empty string.
    """
    if shapes and all(_GATE.search(path) for path in shapes):
        options = _array_per_gate(layer, shapes)
    else:
        options = _joined_gates(layer, shapes, kind)
    return [entries for entries in options if _shapes_agree(entries, shapes)]


def _array_per_gate(layer: Layer, shapes: Shapes) -> Iterator[Entries]:
    """One linear layer for each gate, as in Flax's cells: `ii`, `if`, …, `ho`."""
    paths: dict[tuple[str, str, str], str] = {}
    for path in shapes:
        found = _GATE.search(path)
        assert found is not None
        operand, gate, role = found.groups()
        paths[operand, gate, role] = path
    if {gate for _, gate, _ in paths} != set(layer.gates):
        return
    entries = []
    for source in sources(layer):
        role = "bias" if source.is_bias else "kernel"
        targets = []
        for gate in layer.gates:
            operands = [source.operand]
            if source.merges(gate):
                operands.append("h" if source.operand == "i" else "i")
            known = [paths[o, gate, role] for o in operands if (o, gate, role) in paths]
            targets += [Target(path, shapes[path], gate) for path in known[:1]]
        if targets:
            entries.append(source.entry(targets))
    yield tuple(entries)


def _joined_gates(layer: Layer, shapes: Shapes, kind: str) -> Iterator[Entries]:
    """All gates concatenated in one array."""
    every = sources(layer)
    kernels = [source for source in every if not source.is_bias]
    biases = [source for source in every if source.is_bias]
    matrices = [
        path
        for path, shape in shapes.items()
        if len(shape) == 2 and not _is_two_row_bias(path, shape)
    ]
    vectors = [path for path in shapes if path not in matrices]
    if len(matrices) != len(kernels):
        return
    orders: tuple[str, ...] = ("rzn",) if kind == "GRU" else ORDERS[layer.kind]
    # The reference's own order first, because a port most likely keeps the arrays unchanged.
    for order in sorted(orders, key=lambda order: order != layer.gates):
        for matched in _by_operand(kernels, matrices):
            placed = [_matrix(source, path, shapes[path], order) for source, path in matched]
            for entries in _biases(biases, vectors, shapes, order):
                yield (*placed, *entries)


def _is_two_row_bias(path: str, shape: tuple[int, ...]) -> bool:
    # Keras stores the two biases of a GRU as two rows.
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
        yield tuple(s.entry([target["ih".index(s.operand)]]) for s in biases)
    elif len(biases) == 2 and len(vectors) == 1:
        merged = []
        for source in biases:
            gates = "".join(gate if source.merges(gate) else "." for gate in order)
            merged.append(source.entry([Target(vectors[0], shapes[vectors[0]], gates)]))
        yield tuple(merged)
    else:
        for matched in _by_operand(biases, vectors):
            yield tuple(s.entry([Target(path, shapes[path], order)]) for s, path in matched)


def _by_operand(every: list[Source], paths: list[str]) -> list[list[tuple[Source, str]]]:
    """All pairings of sources with paths; those whose names fit the operands come first."""
    matched = [
        list(zip(every, chosen, strict=True))
        for chosen in itertools.permutations(paths, len(every))
    ]
    return sorted(
        matched, key=lambda pairs: -sum(source.operand == _operand(path) for source, path in pairs)
    )


def _operand(path: str) -> str:
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
