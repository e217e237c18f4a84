"""Checks of the installation that a user would otherwise meet as a crash."""

import functools
import re
from collections.abc import Iterable
from importlib import metadata

# NVIDIA's CUDA 12 and CUDA 13 wheels of these install files of the same names in one folder.
_SHARED = ("cudnn", "nccl", "nvshmem", "cusparselt")


def cuda_clash(installed: Iterable[str] | None = None) -> str | None:
    """None, or one sentence that names CUDA 12 and CUDA 13 wheels that overwrite each other.

    `jax[cuda12]` brings CUDA 12's cuDNN; PyTorch from 2.11 on brings CUDA 13's, into the same
    folder, where the one installed last wins and the other's user crashes.

    Args:
        installed: Names of distributions; those of this environment by default.
    """
    names = _installed() if installed is None else installed
    found = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    clashing = [
        f"nvidia-{library}-cu12 and nvidia-{library}-cu13"
        for library in _SHARED
        if {f"nvidia-{library}-cu12", f"nvidia-{library}-cu13"} <= found
    ]
    if not clashing:
        return None
    return (
        f"{', '.join(clashing)} are installed together and overwrite each other's files, so that "
        "JAX or PyTorch will fail on the GPU. In a new environment install either "
        "chifoumi-jax[cuda13,parity] or chifoumi-jax[cuda12,parity-cuda12]"
    )


@functools.cache
def _installed() -> frozenset[str]:
    # Once in a process: it reads a file of each.
    return frozenset(name for dist in metadata.distributions() if (name := dist.metadata["Name"]))
