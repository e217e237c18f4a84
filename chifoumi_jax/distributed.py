"""Several processes that train together, started alike: one writes, and all decide alike.

Every process reads the photos and works on its devices' share of each batch. The first one writes
the run and speaks; whatever depends on time or signals is its decision or everybody's, since a
process that took another number of steps would leave the others waiting.
"""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import PyTree


def several() -> bool:
    """Whether there is more than this process."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this process writes and speaks."""
    return jax.process_index() == 0


def of_first(number: int) -> int:
    """The first process' number, below 2**31; all must ask."""
    if not several():
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process; all must ask."""
    if not several():
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.bool_(flag))))


def wait_for_all() -> None:
    """Return once all processes are here."""
    if several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("chifoumi")


def everywhere(tree: PyTree, sharding: jax.sharding.Sharding) -> PyTree:
    """Arrays that all processes have alike, laid out over all their devices."""
    if not several():
        return jax.device_put(tree, sharding)

    def share(array: np.ndarray) -> jax.Array:
        return jax.make_array_from_callback(array.shape, sharding, lambda place: array[place])

    return jax.tree.map(lambda leaf: share(np.asarray(leaf)), tree)
