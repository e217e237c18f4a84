from collections.abc import Iterator
from chifoumi_jax.systems.system import System
def faults() -> Iterator[tuple[str, int, System]]:
    yield from ()
