"""Pairs the reference's layers with the candidate's, by shape, kind, order and name."""

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
    "LSTM": recurrent.mapping_options,
    "GRU": recurrent.mapping_options,
    "RNN": recurrent.mapping_options,
    "Attention": attention.mapping_options,
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
_MAX_OPTIONS = 8


@dataclasses.dataclass(frozen=True)
class PairedLayer:
    """A layer and the possible mappings of its parameters to arrays of the candidate.

    Attributes:
        layer: The reference's layer.
        options: The possible mappings, the most plausible first.
        given: Whether the user's `mapping` names one of its parameters.
    """

    layer: Layer
    options: tuple[Entries, ...]
    given: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths of the first option."""
        return tuple(path for entry in self.options[0] for path in entry.candidate)

    @property
    def signature(self) -> tuple[object, ...]:
        """Equal for two layers that could be swapped."""
        shapes = tuple((p.role, p.shape) for p in self.layer.parameters)
        return (self.layer.kind, self.layer.gates, shapes)


def pair_up(
    layers: Sequence[Layer], leaves: Sequence[Leaf], kinds: Mapping[str, str]
) -> list[PairedLayer]:
    """Pairs of layers, in the reference's order.

    Args:
        layers: The reference's layers, in the order in which they run.
        leaves: The candidate's parameters and statistics, in the order of their first use.
        kinds: The kind of the Flax layer at each path, as far as known.
    """
    found: dict[str, PairedLayer] = {}
    remaining = list(leaves)
    composite = [layer for layer in layers if layer.kind in _COMPOSITE]
    simple = [layer for layer in layers if layer.kind not in _COMPOSITE]
    for group, nodes_of, options in (
        (composite, _subtrees, _composite_options),
        (simple, _holders, _simple_options),
    ):
        nodes = nodes_of(remaining)
        assigned = _assign(group, nodes, functools.partial(options, kinds))
        found |= {paired.layer.name: paired for paired in assigned}
        used = {path for paired in assigned for path in paired.paths}
        remaining = [leaf for leaf in remaining if leaf.path not in used]
    found |= _one_by_one(layers, found, remaining, kinds)
    return [found[layer.name] for layer in layers if layer.name in found]


def mapping_of(
    pairs: Sequence[PairedLayer],
    chosen: Sequence[int],
    layers: Sequence[Layer],
    leaves: Sequence[Leaf],
    note: str = "",
) -> WeightMapping:
    """The mapping of the chosen options, with the parameters left over on either side."""
    entries = [e for paired, i in zip(pairs, chosen, strict=True) for e in paired.options[i]]
    placed = {entry.reference for entry in entries}
    filled = {path for entry in entries for path in entry.candidate}
    unused = [leaf for leaf in leaves if leaf.path not in filled]
    open_ = [p for layer in layers for p in layer.parameters if p.name not in placed]
    missing = {p.name: _hint(p, unused) for p in open_ if not p.optional}
    constants = [p.name for p in open_ if p.optional]
    return WeightMapping(entries, missing, [leaf.path for leaf in unused], constants, note)


def likeness(first: str, second: str) -> float:
    """Similarity of two names, from 0 to 1, ignoring the separators between words.

    An equal last part has extra weight: `layer1.0.bn2` is more similar to `blocks.0.bn2` than to
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
    """The nodes that directly hold leaves, in the order of first use."""
    groups: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        groups.setdefault(leaf.node, []).append(leaf)
    return [(node, tuple(group)) for node, group in groups.items()]


def _subtrees(leaves: Sequence[Leaf]) -> list[Node]:
    """Every subtree; of subtrees with the same leaves, only the innermost."""
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
    layers: Sequence[Layer], nodes: Sequence[Node], options: Callable[[Layer, Node], list[Entries]]
) -> list[PairedLayer]:
    """The assignment of layers to nodes with the lowest cost."""
    if not layers or not nodes:
        return []
    possible = {
        (i, j): found
        for i, layer in enumerate(layers)
        for j, node in enumerate(nodes)
        if (found := options(layer, node))
    }
    costs = np.full((len(layers), len(nodes)), _IMPOSSIBLE)
    for (i, j), found in possible.items():
        offset = abs(i / max(len(layers) - 1, 1) - j / max(len(nodes) - 1, 1))
        unlike = 1 - likeness(layers[i].name, nodes[j][0])
        costs[i, j] = 2 * offset + unlike + 10 * _left_over(layers[i], nodes[j], found[0])
    rows, columns = linear_sum_assignment(costs)
    return [
        PairedLayer(layers[i], tuple(possible[i, j][:_MAX_OPTIONS]))
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        if (i, j) in possible
    ]


def _left_over(layer: Layer, node: Node, entries: Entries) -> int:
    placed = {entry.reference for entry in entries}
    filled = {path for entry in entries for path in entry.candidate}
    return sum(p.name not in placed for p in layer.parameters) + sum(
        leaf.path not in filled for leaf in node[1]
    )


def _composite_options(kinds: Mapping[str, str], layer: Layer, node: Node) -> list[Entries]:
    shapes = {leaf.path: leaf.shape for leaf in node[1]}
    return _COMPOSITE[layer.kind](layer, shapes, kinds.get(node[0], ""))


def _simple_options(kinds: Mapping[str, str], layer: Layer, node: Node) -> list[Entries]:
    """Pairs each parameter with the leaf whose name and shape fit best."""
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
    # A match of the bias alone is no evidence, so a layer with a kernel must match by its kernel.
    matched = {layer.parameters[i].role for i, _ in pairs}
    if not pairs or ("kernel" in {p.role for p in layer.parameters} and "kernel" not in matched):
        return []
    choices = [
        [
            Entry(layer.parameters[i].name, layer.parameters[i].shape, (node[1][j].path,), rule)
            for rule in rules[i, j]
        ]
        for i, j in pairs
    ]
    return list(itertools.islice(itertools.product(*choices), _MAX_OPTIONS))


def _role_cost(parameter: Parameter, leaf: Leaf) -> float:
    """0 if the leaf's name fits the role, 1 if it fits another role, 0.5 if it fits none.

    2 for a parameter paired with a statistic, or the reverse.
    """
    if parameter.trained != leaf.trained:
        return 2.0
    name = leaf.name.lower()
    if name in _ROLES.get(parameter.role, {parameter.role.lower()}):
        return 0.0
    others = {word for role, words in _ROLES.items() if role != parameter.role for word in words}
    return 1.0 if name in others else 0.5


def _one_by_one(
    layers: Sequence[Layer],
    found: Mapping[str, PairedLayer],
    remaining: Sequence[Leaf],
    kinds: Mapping[str, str],
) -> dict[str, PairedLayer]:
    """Pairs single parameters of layers that have no node, such as those of a flat dictionary."""
    placed = {e.reference for paired in found.values() for e in paired.options[0]}
    missing = [(layer, p) for layer in layers for p in layer.parameters if p.name not in placed]
    possible: dict[tuple[int, int], list[Entry]] = {}
    costs = np.full((len(missing), len(remaining)), _IMPOSSIBLE)
    for (i, (layer, parameter)), (j, leaf) in itertools.product(
        enumerate(missing), enumerate(remaining)
    ):
        if parameter.optional and likeness(parameter.name, leaf.path) < 1:
            continue
        rules = _rules(layer, parameter, leaf, kinds)
        if not rules:
            continue
        possible[i, j] = rules
        offset = abs(i / max(len(missing) - 1, 1) - j / max(len(remaining) - 1, 1))
        unlike = 1 - likeness(parameter.name, leaf.path)
        costs[i, j] = 2 * offset + unlike + _role_cost(parameter, leaf)
    if not possible:
        return {}
    rows, columns = linear_sum_assignment(costs)
    entries: dict[str, list[list[Entry]]] = {}
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        if (i, j) in possible:
            entries.setdefault(missing[i][0].name, []).append(possible[i, j])
    by_name = {layer.name: layer for layer in layers}
    completed = {}
    for name, choices in entries.items():
        own = [[e] for e in found[name].options[0]] if name in found else []
        options = tuple(itertools.islice(itertools.product(*own, *choices), _MAX_OPTIONS))
        completed[name] = PairedLayer(by_name[name], options)
    return completed


def _rules(layer: Layer, parameter: Parameter, leaf: Leaf, kinds: Mapping[str, str]) -> list[Entry]:
    rules = alternatives(layer, parameter, leaf.shape, kinds.get(leaf.node, ""))
    return [Entry(parameter.name, parameter.shape, (leaf.path,), rule) for rule in rules]


def _nearness(parameter: Parameter, leaf: Leaf) -> float:
    """A score of how likely the leaf is the counterpart, although the shapes do not fit."""
    sizes = collections.Counter(parameter.shape) & collections.Counter(leaf.shape)
    same_rank = len(parameter.shape) == len(leaf.shape)
    return 10 * same_rank + sizes.total() + likeness(parameter.name, leaf.path)


def _hint(parameter: Parameter, unused: Sequence[Leaf]) -> str:
    if not unused:
        return "no parameter of the candidate is left for it"
    nearest = max(unused, key=lambda leaf: _nearness(parameter, leaf))
    return (
        f"shape {parameter.shape}, and no parameter of the candidate that is left fits; the "
        f"most similar, {nearest.path}, has shape {nearest.shape}"
    )
