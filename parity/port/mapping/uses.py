"""In which order a function first uses its arguments."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

# What only changes how an array is held: a model that casts all weights first has not used them.
_CARRIERS = {"convert_element_type", "reshape", "broadcast_in_dim", "transpose", "copy", "squeeze"}


def first_uses(function: Callable[[dict[str, Any]], Any], weights: dict[str, Any]) -> list[str]:
    """The names of the weights in the order of their first use; what is not used comes last."""
    closed = jax.make_jaxpr(function)(weights)
    # The leaves of a dictionary come in the order of its keys.
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
        if eqn.primitive.name in _CARRIERS and named[0] is not None:
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
    # A branch of a condition does not get what chooses it.
    if len(inner) == len(outer) - 1:
        outer = outer[1:]
    if len(inner) != len(outer):
        return {}
    return {
        mine: known[theirs]
        for mine, theirs in zip(inner, outer, strict=True)
        if not hasattr(theirs, "val") and theirs in known
    }
