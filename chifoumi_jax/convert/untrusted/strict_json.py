"""Parses untrusted JSON strictly: ambiguous documents are refused."""

import json
from typing import Any

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_JSON_BYTES, MAX_JSON_DEPTH


def parse(content: bytes, what: str) -> Any:
    """Parses the document in `content`; error messages call it `what`.

    Raises:
        WeightsError: If it is too large, not UTF-8, not JSON or nested too deep, or has a duplicate
            key or a number that is not finite.
    """
    if len(content) > MAX_JSON_BYTES:
        raise WeightsError(
            f"{what} has {len(content):,} bytes; more than {MAX_JSON_BYTES:,} are not read"
        )
    try:
        document = json.loads(
            content.decode(),
            object_pairs_hook=_reject_duplicate_keys,
            parse_constant=_reject_constant,
        )
    except WeightsError as error:
        raise WeightsError(f"{what} {error}") from error
    except RecursionError as error:
        raise WeightsError(f"{what} is nested too deep") from error
    except ValueError as error:
        raise WeightsError(f"{what} is not JSON in UTF-8: {error}") from error
    _check_depth(document, what, 0)
    return document


def _check_depth(node: Any, what: str, depth: int) -> None:
    if depth > MAX_JSON_DEPTH:
        raise WeightsError(f"{what} is nested too deep")
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        _check_depth(child, what, depth + 1)


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise WeightsError(f"gives {duplicate[:80]!r} twice")
    return found


def _reject_constant(constant: str) -> Any:
    raise WeightsError(f"holds the number {constant}")
