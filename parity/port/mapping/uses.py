"""Finds the order in which a function first uses its weights."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

# Operations that change only dtype or layout do not count as a use: some models first cast all
# weights.
_NO_USE = {"convert_element_type", "reshape", "broadcast_in_dim", "transpose", "copy", "squeeze"}


def first_uses(function: Callable[[dict[str, Any]], Any], weights: dict[str, Any]) -> list[str]:
    """The names of the weights in the order of their first use; unused weights come last."""
    closed = jax.make_jaxpr(function)(weights)
    # JAX flattens a dictionary in the order of its sorted keys.
    names = sorted(weights)
    found: list[str] = []
    known = dict(zip(closed.jaxpr.invars[: len(names)], names, strict=True))
    _visit(closed.jaxpr, known, found)
    return found + [name for name in weights if name not in found]


def _visit(jaxpr: Any, known: dict[Any, str], found: list[str]) -> None:
    for eqn in jaxpr.eqns:
        named = [known.get(v) if not hasattr(v, "val") else None for v in eqn.invars]
        if not any(named):
            continue
        inner = list(_inner(eqn.params.values()))
        if inner:
            for part in inner:
                _visit(part, _bound(part.invars, eqn.invars, known), found)
        if eqn.primitive.name in _NO_USE and named[0] is not None:
            known[eqn.outvars[0]] = named[0]
        else:
            found.extend(dict.fromkeys(n for n in named if n is not None and n not in found))


def _inner(values: Any) -> Iterator[Any]:
    for value in values:
        if hasattr(value, "jaxpr") and hasattr(value.jaxpr, "eqns"):
            yield value.jaxpr
        elif hasattr(value, "eqns"):
            yield value
        elif isinstance(value, tuple | list):
            yield from _inner(value)


def _bound(inner: Sequence[Any], outer: Sequence[Any], known: dict[Any, str]) -> dict[Any, str]:
    # The branches of a conditional do not receive its first operand, the selector.
    if len(inner) == len(outer) - 1:
        outer = outer[1:]
    if len(inner) != len(outer):
        return {}
    return {
        mine: known[theirs]
        for mine, theirs in zip(inner, outer, strict=True)
        if not hasattr(theirs, "val") and theirs in known
    }
