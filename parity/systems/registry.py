"""The study's ports by name, and what a port's parts give, kept while they are compared."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from parity.candidate import Candidate
from parity.comparison import Comparison, compare
from parity.systems import study_cnn, study_mlp
from parity.systems.case import Case

T = TypeVar("T")

CASES: dict[str, Case] = {
    case.name: case for case in (study_cnn.CASE, study_mlp.CASE_V3, study_mlp.CASE_V21)
}


def is_called(name: str, only: str) -> bool:
    """Whether a user who asks for `only` means the candidate of this name."""
    # Both MLPs are "mlp", and no port is "t".
    return f"-{only}-" in f"-{name}-"


def once(*parts: str) -> Callable[[Callable[[Candidate], T]], Callable[[Candidate], T]]:
    """Keep what a function gives for a port, by the parts of the port that it uses.

    A port with a fault in another part has the same result, which need not be computed again.
    """

    def decorate(function: Callable[[Candidate], T]) -> Callable[[Candidate], T]:
        kept = functools.lru_cache(maxsize=2)(function)

        @functools.wraps(function)
        def with_these_parts(candidate: Candidate) -> T:
            used = {part: getattr(candidate, part) for part in parts}
            return kept(CASES[candidate.name].port.replace(**used))

        return with_these_parts

    return decorate


def against(
    theirs: Callable[[], Mapping[str, Any]],
    ours: Callable[[Candidate], Mapping[str, Any]],
    *parts: str,
) -> Callable[[Candidate], Comparison]:
    """Compare what a port gives, which depends on `parts` of it alone, with what its original does.

    Both are computed when first asked for, and kept.
    """
    kept, original = once(*parts)(ours), functools.cache(theirs)
    return lambda candidate: compare(kept(candidate), original())
