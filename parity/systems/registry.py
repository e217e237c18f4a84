"""The study's ports by name, and caches for the results of a port's parts."""

import functools
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

from chifoumi_jax import systems
from chifoumi_jax.systems.system import System
from parity.candidate import Candidate
from parity.case import Case
from parity.comparison import Comparison, compare
from parity.original import Original
from parity.originals.recorded_system import RecordedSystem
from parity.system_case import SystemCase, SystemOriginal
from parity.systems import study_cnn, study_mlp

T = TypeVar("T")

SYSTEMS: tuple[tuple[Case, Callable[[], list[Original]]], ...] = (
    (study_cnn.CASE, study_cnn.originals),
    (study_mlp.CASE_V3, study_mlp.originals_v3),
    (study_mlp.CASE_V21, study_mlp.originals_v21),
)
"""Each port, and a function that makes its originals and imports their frameworks."""


def _small_systems() -> Iterator[
    tuple[SystemCase, Callable[[], list[SystemOriginal | RecordedSystem]]]
]:
    for name in systems.small_names():
        module = import_module(f"parity.systems.{name.replace('-', '_')}")
        for case in module.CASES:
            yield case, functools.partial(module.originals, case)


SMALL_SYSTEMS: tuple[
    tuple[SystemCase, Callable[[], list[SystemOriginal | RecordedSystem]]], ...
] = tuple(_small_systems())
"""The same for the study's small systems: `parity/systems/NAME.py` for each name."""

CASES: dict[str, Case] = {case.name: case for case, _ in SYSTEMS}
PORTS: dict[str, Candidate | System] = {
    **{name: case.port for name, case in CASES.items()},
    **{case.name: case.port for case, _ in SMALL_SYSTEMS},
}
"""Every port by name; of a photo classifier a `Candidate`, of a small system a `System`."""


def matches_name(name: str, only: str) -> bool:
    """Whether `--only` with this value selects the candidate of this name."""
    # Whole words match, so that "mlp" selects both MLPs and "t" selects nothing.
    return f"-{only}-" in f"-{name}-"


def cached_by_parts(*parts: str) -> Callable[[Callable[[Candidate], T]], Callable[[Candidate], T]]:
    """Cache a function of a port by the parts of the port that it uses.

    A port with a fault in another part has the same result, so that it is not computed again.
    """

    def decorate(function: Callable[[Candidate], T]) -> Callable[[Candidate], T]:
        cached = functools.lru_cache(maxsize=2)(function)

        @functools.wraps(function)
        def with_these_parts(candidate: Candidate) -> T:
            used = {part: getattr(candidate, part) for part in parts}
            return cached(CASES[candidate.name].port.replace(**used))

        return with_these_parts

    return decorate


def cached_comparison(
    theirs: Callable[[], Mapping[str, Any]],
    ours: Callable[[Candidate], Mapping[str, Any]],
    *parts: str,
) -> Callable[[Candidate], Comparison]:
    """A function that compares a port's result with its original's; both results are cached.

    Args:
        theirs: Computes the original's result.
        ours: Computes the port's result, which depends only on `parts` of the port.
        parts: Names of these parts.
    """
    port, original = cached_by_parts(*parts)(ours), functools.cache(theirs)
    return lambda candidate: compare(port(candidate), original())
