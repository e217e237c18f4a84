"""The memory and disk space that a run requires, checked before it starts."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import psutil

from chifoumi_jax.errors import UserError
from chifoumi_jax.training.checkpoint import KEEP

# Bytes of Python, JAX and the other libraries: 0.4 GB, measured with jax 0.10 on Linux.
_PROCESS_MEMORY = 400_000_000
# Pixels that take a greater share of the memory are read batch by batch instead.
_SHARE_FOR_PIXELS = 0.25


class DoesNotFitError(UserError, RuntimeError):
    """A run requires more memory or disk space than is free."""


@dataclasses.dataclass(frozen=True)
class Requirements:
    """Bytes that a run requires at its peak.

    Attributes:
        memory: Memory of each device; on a CPU that is the machine's memory.
        disk: Disk space for checkpoints, in the folder of the runs.
        checkpoint: Size of one checkpoint; part of `disk`.
    """

    memory: int
    disk: int
    checkpoint: int

    def sentence(self) -> str:
        """The requirements in words."""
        return (
            f"needs about {gigabytes(self.memory)} of memory and {gigabytes(self.disk)} of disk "
            f"(a checkpoint is {gigabytes(self.checkpoint)})"
        )


def gigabytes(size: int) -> str:
    """`size` bytes as readable text: 262 MB, 3.4 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 1) / 1e6:.3g} MB"


def estimate(compiled: Any, checkpoint: int) -> Requirements:
    """The requirements of a compiled step, from XLA's memory plan.

    Args:
        compiled: The step, from `jax.jit(...).lower(...).compile()`.
        checkpoint: Bytes of one checkpoint.
    """
    plan = compiled.memory_analysis()
    memory = plan.temp_size_in_bytes + plan.argument_size_in_bytes + plan.output_size_in_bytes
    memory -= plan.alias_size_in_bytes
    if jax.default_backend() == "cpu":
        memory += _PROCESS_MEMORY
    # The kept checkpoints, the best one, and the one that is being written.
    return Requirements(memory, (KEEP + 2) * checkpoint, checkpoint)


def fits_beside(size: int) -> bool:
    """Whether `size` bytes of pixels may stay in a device's memory during a training.

    The answer depends on the machine only, not on what else runs there, because a resumed training
    must do the same as before.
    """
    if jax.default_backend() == "cpu":
        return size <= _SHARE_FOR_PIXELS * psutil.virtual_memory().total
    limit = _device_limit()
    return limit is not None and size <= _SHARE_FOR_PIXELS * limit


def check(required: Requirements, directory: Path) -> None:
    """Refuse a run that does not fit.

    Raises:
        DoesNotFitError: If memory or disk space is missing; the message says what to change.
    """
    memory = _available_memory()
    if memory is not None and required.memory > memory:
        raise DoesNotFitError(
            f"this run needs about {gigabytes(required.memory)} of memory and {gigabytes(memory)} "
            "is free; take a smaller --batch-size or --image-size, or close other programs"
        )
    free = shutil.disk_usage(directory).free
    if required.disk > free:
        raise DoesNotFitError(
            f"this run needs about {gigabytes(required.disk)} of disk space in {directory} and "
            f"{gigabytes(free)} is free; free disk space, or name another folder with --runs"
        )


def _available_memory() -> int | None:
    if jax.default_backend() == "cpu":
        return int(psutil.virtual_memory().available)
    return _device_limit()


def _device_limit() -> int | None:
    statistics = jax.local_devices()[0].memory_stats() or {}
    limit = statistics.get("bytes_limit")
    return None if limit is None else int(limit)
