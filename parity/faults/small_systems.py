"""The planted faults of all small systems."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from chifoumi_jax import systems
from chifoumi_jax.systems.system import System


def small_system_faults() -> Iterator[tuple[str, int, System]]:
    """The name of each fault, the rung that must find it, and the system with the fault."""
    for name in systems.small_names():
        yield from import_module(f"parity.faults.{name.replace('-', '_')}").faults()
