"""What a run needs of the machine, said before it starts, and refused when it cannot fit."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import psutil

from chifoumi_jax.errors import UserError
from chifoumi_jax.training.checkpoint import KEEP

# Python, JAX and the other libraries; measured 0.4 GB with jax 0.10 on Linux.
_PROCESS = 400_000_000
# Pixels that take more of the memory than that are read ahead batch by batch.
_SHARE_FOR_PIXELS = 0.25


class DoesNotFitError(UserError, RuntimeError):
    """A run needs more memory or disk than there is."""


@dataclasses.dataclass(frozen=True)
class Needs:
    """Bytes that a run needs at its peak.

    Attributes:
        memory: Of each device (the machine's own memory when that is the device).
        disk: Where the runs are kept: checkpoints.
        checkpoint: Of one checkpoint, part of `disk`.
    """

    memory: int
    disk: int
    checkpoint: int

    def sentence(self) -> str:
        """The needs in words."""
        return (
            f"needs about {gigabytes(self.memory)} of memory and {gigabytes(self.disk)} of disk "
            f"(a checkpoint is {gigabytes(self.checkpoint)})"
        )


def gigabytes(size: int) -> str:
    """`size` bytes for people: 262 MB, 3.4 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 1) / 1e6:.3g} MB"


def estimate(compiled: Any, checkpoint: int) -> Needs:
    """The needs of a compiled step, as XLA planned its memory.

    Args:
        compiled: The step, from `jax.jit(...).lower(...).compile()`.
        checkpoint: Bytes of one checkpoint.
    """
    plan = compiled.memory_analysis()
    memory = plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes
    memory -= plan.alias_size_in_bytes
    if jax.default_backend() == "cpu":
        memory += _PROCESS
    # The kept ones, the best one, and the one being written.
    return Needs(memory, (KEEP + 2) * checkpoint, checkpoint)


def fits_beside(size: int) -> bool:
    """Whether `size` bytes of pixels may stay in a device's memory beside a training.

    It depends on the machine alone, not on what else runs there: a training that goes on must do
    as it did.
    """
    if jax.default_backend() == "cpu":
        return size <= _SHARE_FOR_PIXELS * psutil.virtual_memory().total
    limit = _device_limit()
    return limit is not None and size <= _SHARE_FOR_PIXELS * limit


def check(needs: Needs, directory: Path) -> None:
    """Refuse what cannot fit.

    Raises:
        DoesNotFitError: With what is missing and what to change.
    """
    memory = _memory()
    if memory is not None and needs.memory > memory:
        raise DoesNotFitError(
            f"this run needs about {gigabytes(needs.memory)} of memory and {gigabytes(memory)} is "
            "free; take a smaller --batch-size or --image-size, or close other programs"
        )
    free = shutil.disk_usage(directory).free
    if needs.disk > free:
        raise DoesNotFitError(
            f"this run needs about {gigabytes(needs.disk)} of disk in {directory} and "
            f"{gigabytes(free)} is free; make room, or name another folder with --runs"
        )


def _memory() -> int | None:
    if jax.default_backend() == "cpu":
        return int(psutil.virtual_memory().available)
    return _device_limit()


def _device_limit() -> int | None:
    statistics = jax.local_devices()[0].memory_stats() or {}
    limit = statistics.get("bytes_limit")
    return None if limit is None else int(limit)
