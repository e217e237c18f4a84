"""Several processes that train together: one writes the run, and all make the same decisions.

Every process is started with the same options, reads the photos, and works on its devices' share of
each batch. The first one writes the run and prints the progress. A decision that depends on time or
signals is made by the first process or by all together, because a process that takes another number
of steps would leave the others waiting.
"""

from __future__ import annotations

import jax
import numpy as np
from jaxtyping import PyTree


def several() -> bool:
    """Whether there are several processes."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this is the first process, which writes the run and prints."""
    return jax.process_index() == 0


def broadcast_first(number: int) -> int:
    """The `number` of the first process, below 2**31; all processes must call this."""
    if not several():
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process; all processes must call this."""
    if not several():
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.bool_(flag))))


def wait_for_all() -> None:
    """Return when all processes have called this."""
    if several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("chifoumi")


def everywhere(tree: PyTree, sharding: jax.sharding.Sharding) -> PyTree:
    """Arrays that are equal in all processes, laid out over all devices."""
    if not several():
        return jax.device_put(tree, sharding)

    def share(array: np.ndarray) -> jax.Array:
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(lambda leaf: share(np.asarray(leaf)), tree)
