"""Which layer of the reference is which of the candidate's: by shape, kind, order and name."""

import collections
import dataclasses
import difflib
import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from parity.port.candidates.base import Leaf
from parity.port.layer import Layer, Parameter
from parity.port.mapping import attention, recurrent
from parity.port.mapping.mapping import Entry, WeightMapping
from parity.port.mapping.rules import alternatives

Entries = tuple[Entry, ...]
_IMPOSSIBLE = 1e6
_COMPOSITE: dict[str, Callable[..., list[Entries]]] = {
    "LSTM": recurrent.fits,
    "GRU": recurrent.fits,
    "RNN": recurrent.fits,
    "Attention": attention.fits,
}
_ROLES = {
    "kernel": {"kernel", "weight", "weights", "w"},
    "bias": {"bias", "b", "beta", "offset"},
    "scale": {"scale", "weight", "gamma", "g"},
    "mean": {"mean", "running_mean", "moving_mean", "mu"},
    "var": {"var", "running_var", "moving_variance", "variance"},
    "embedding": {"embedding", "embeddings", "weight", "table"},
    "slope": {"negative_slope", "slope", "alpha"},
}
_WAYS = 8


@dataclasses.dataclass(frozen=True)
class Paired:
    """A layer and the ways in which its parameters fill arrays of the candidate.

    Attributes:
        layer: The reference's layer.
        ways: The most plausible first.
        given: Whether the user said where its parameters go.
    """

    layer: Layer
    ways: tuple[Entries, ...]
    given: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths of the first way."""
        return tuple(path for entry in self.ways[0] for path in entry.candidate)

    @property
    def signature(self) -> tuple[object, ...]:
        """What two layers share that could stand for each other."""
        shapes = tuple((p.role, p.shape) for p in self.layer.parameters)
        return (self.layer.kind, self.layer.gates, shapes)


def pair_up(
    layers: Sequence[Layer], leaves: Sequence[Leaf], kinds: Mapping[str, str]
) -> list[Paired]:
    """Pairs in the reference's order.

    Args:
        layers: The reference's, in the order in which they run.
        leaves: The candidate's, in the order of their first use.
        kinds: What Flax layer stands at which path, as far as that is known.
    """
    found: dict[str, Paired] = {}
    left = list(leaves)
    composite = [layer for layer in layers if layer.kind in _COMPOSITE]
    simple = [layer for layer in layers if layer.kind not in _COMPOSITE]
    for some, nodes_of, ways in (
        (composite, _subtrees, _composite_ways),
        (simple, _holders, _simple_ways),
    ):
        nodes = nodes_of(left)
        taken = _assign(some, nodes, functools.partial(ways, kinds))
        found |= {paired.layer.name: paired for paired in taken}
        used = {path for paired in taken for path in paired.paths}
        left = [leaf for leaf in left if leaf.path not in used]
    found |= _one_by_one(layers, found, left, kinds)
    return [found[layer.name] for layer in layers if layer.name in found]


def mapping_of(
    pairs: Sequence[Paired],
    chosen: Sequence[int],
    layers: Sequence[Layer],
    leaves: Sequence[Leaf],
    note: str = "",
) -> WeightMapping:
    """The mapping of the chosen ways, with what is left over on either side."""
    entries = [e for paired, way in zip(pairs, chosen, strict=True) for e in paired.ways[way]]
    placed = {entry.reference for entry in entries}
    filled = {path for entry in entries for path in entry.candidate}
    unused = [leaf for leaf in leaves if leaf.path not in filled]
    open_ = [p for layer in layers for p in layer.parameters if p.name not in placed]
    missing = {p.name: _hint(p, unused) for p in open_ if not p.optional}
    constants = [p.name for p in open_ if p.optional]
    return WeightMapping(entries, missing, [leaf.path for leaf in unused], constants, note)


def likeness(first: str, second: str) -> float:
    """How alike two names are, from 0 to 1, whatever stands between their words.

    The last part counts for itself: `layer1.0.bn2` is more like `blocks.0.bn2` than like
    `blocks.0.norm`.
    """
    words = [re.findall(r"[a-z]+|\d+", name.lower()) for name in (first, second)]
    if words[0] == words[1]:
        return 1.0
    first_words, second_words = (" ".join(w) for w in words)
    last = [re.split(r"[./]", name.lower())[-1] for name in (first, second)]
    ratio = difflib.SequenceMatcher(None, first_words, second_words).ratio()
    return 0.5 * ratio + 0.4 * (last[0] == last[1])


Node = tuple[str, tuple[Leaf, ...]]


def _holders(leaves: Sequence[Leaf]) -> list[Node]:
    """What holds leaves itself, in the order of first use."""
    groups: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        groups.setdefault(leaf.node, []).append(leaf)
    return [(node, tuple(group)) for node, group in groups.items()]


def _subtrees(leaves: Sequence[Leaf]) -> list[Node]:
    """Every part of the tree, the innermost of those that hold the same."""
    groups: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        parts = leaf.path.split(".")[:-1]
        for depth in range(len(parts) + 1):
            groups.setdefault(".".join(parts[:depth]), []).append(leaf)
    innermost: dict[tuple[str, ...], Node] = {}
    for node, group in sorted(groups.items(), key=lambda item: item[0].count(".")):
        innermost[tuple(leaf.path for leaf in group)] = (node, tuple(group))
    order = {leaf.path: place for place, leaf in enumerate(leaves)}
    return sorted(innermost.values(), key=lambda node: order[node[1][0].path])


def _assign(
    layers: Sequence[Layer], nodes: Sequence[Node], ways: Callable[[Layer, Node], list[Entries]]
) -> list[Paired]:
    """The assignment of layers to nodes that costs least."""
    if not layers or not nodes:
        return []
    possible = {
        (i, j): found
        for i, layer in enumerate(layers)
        for j, node in enumerate(nodes)
        if (found := ways(layer, node))
    }
    costs = np.full((len(layers), len(nodes)), _IMPOSSIBLE)
    for (i, j), found in possible.items():
        apart = abs(i / max(len(layers) - 1, 1) - j / max(len(nodes) - 1, 1))
        unlike = 1 - likeness(layers[i].name, nodes[j][0])
        costs[i, j] = 2 * apart + unlike + 10 * _left_over(layers[i], nodes[j], found[0])
    rows, columns = linear_sum_assignment(costs)
    return [
        Paired(layers[i], tuple(possible[i, j][:_WAYS]))
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        if (i, j) in possible
    ]


def _left_over(layer: Layer, node: Node, entries: Entries) -> int:
    placed = {entry.reference for entry in entries}
    filled = {path for entry in entries for path in entry.candidate}
    return sum(p.name not in placed for p in layer.parameters) + sum(
        leaf.path not in filled for leaf in node[1]
    )


def _composite_ways(kinds: Mapping[str, str], layer: Layer, node: Node) -> list[Entries]:
    shapes = {leaf.path: leaf.shape for leaf in node[1]}
    return _COMPOSITE[layer.kind](layer, shapes, kinds.get(node[0], ""))


def _simple_ways(kinds: Mapping[str, str], layer: Layer, node: Node) -> list[Entries]:
    """Each parameter with the leaf whose name and shape suit it best."""
    kind = kinds.get(node[0], "")
    rules = {
        (i, j): found
        for i, parameter in enumerate(layer.parameters)
        for j, leaf in enumerate(node[1])
        if (found := alternatives(layer, parameter, leaf.shape, kind))
    }
    costs = np.full((len(layer.parameters), len(node[1])), _IMPOSSIBLE)
    for i, j in rules:
        costs[i, j] = _role_cost(layer.parameters[i], node[1][j]) + 0.01 * abs(i - j)
    rows, columns = linear_sum_assignment(costs)
    pairs = [
        (i, j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if (i, j) in rules
    ]
    # A bias alone tells nothing: a layer that has a kernel is found by its kernel.
    named = {layer.parameters[i].role for i, _ in pairs}
    if not pairs or ("kernel" in {p.role for p in layer.parameters} and "kernel" not in named):
        return []
    choices = [
        [
            Entry(layer.parameters[i].name, layer.parameters[i].shape, (node[1][j].path,), rule)
            for rule in rules[i, j]
        ]
        for i, j in pairs
    ]
    return list(itertools.islice(itertools.product(*choices), _WAYS))


def _role_cost(parameter: Parameter, leaf: Leaf) -> float:
    """0 where the name says the role, 1 where another; 2 for a weight with a statistic."""
    if parameter.trained != leaf.trained:
        return 2.0
    name = leaf.name.lower()
    if name in _ROLES.get(parameter.role, {parameter.role.lower()}):
        return 0.0
    others = {word for role, words in _ROLES.items() if role != parameter.role for word in words}
    return 1.0 if name in others else 0.5


def _one_by_one(
    layers: Sequence[Layer],
    found: Mapping[str, Paired],
    left: Sequence[Leaf],
    kinds: Mapping[str, str],
) -> dict[str, Paired]:
    """Parameters of layers that no node stands for, such as those of a flat dictionary."""
    placed = {e.reference for paired in found.values() for e in paired.ways[0]}
    wanted = [(layer, p) for layer in layers for p in layer.parameters if p.name not in placed]
    possible: dict[tuple[int, int], list[Entry]] = {}
    costs = np.full((len(wanted), len(left)), _IMPOSSIBLE)
    for (i, (layer, parameter)), (j, leaf) in itertools.product(enumerate(wanted), enumerate(left)):
        if parameter.optional and likeness(parameter.name, leaf.path) < 1:
            continue
        rules = _rules(layer, parameter, leaf, kinds)
        if not rules:
            continue
        possible[i, j] = rules
        apart = abs(i / max(len(wanted) - 1, 1) - j / max(len(left) - 1, 1))
        unlike = 1 - likeness(parameter.name, leaf.path)
        costs[i, j] = 2 * apart + unlike + _role_cost(parameter, leaf)
    if not possible:
        return {}
    rows, columns = linear_sum_assignment(costs)
    entries: dict[str, list[list[Entry]]] = {}
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        if (i, j) in possible:
            entries.setdefault(wanted[i][0].name, []).append(possible[i, j])
    by_name = {layer.name: layer for layer in layers}
    completed = {}
    for name, choices in entries.items():
        own = [[e] for e in found[name].ways[0]] if name in found else []
        ways = tuple(itertools.islice(itertools.product(*own, *choices), _WAYS))
        completed[name] = Paired(by_name[name], ways)
    return completed


def _rules(layer: Layer, parameter: Parameter, leaf: Leaf, kinds: Mapping[str, str]) -> list[Entry]:
    rules = alternatives(layer, parameter, leaf.shape, kinds.get(leaf.node, ""))
    return [Entry(parameter.name, parameter.shape, (leaf.path,), rule) for rule in rules]


def _nearness(parameter: Parameter, leaf: Leaf) -> float:
    """How likely the two are meant for each other although their shapes do not fit."""
    sizes = collections.Counter(parameter.shape) & collections.Counter(leaf.shape)
    alike = len(parameter.shape) == len(leaf.shape)
    return 10 * alike + sizes.total() + likeness(parameter.name, leaf.path)


def _hint(parameter: Parameter, unused: Sequence[Leaf]) -> str:
    if not unused:
        return "no parameter of the candidate is left for it"
    nearest = max(unused, key=lambda leaf: _nearness(parameter, leaf))
    return (
        f"shape {parameter.shape}, and no parameter of the candidate that is left fits; the "
        f"likeliest, {nearest.path}, has shape {nearest.shape}"
    )
