"""Checks of the installation; without them a user would see a crash instead of a message."""

import functools
import importlib.util
import re
from collections.abc import Iterable
from importlib import metadata

from chifoumi_jax.errors import UserError

# The CUDA 12 and CUDA 13 wheels of these libraries install files of the same names into one folder.
_CLASHING_LIBRARIES = ("cudnn", "nccl", "nvshmem", "cusparselt")


def require_installed(
    purpose: str, *modules: str, extra: str, error: type[UserError] = UserError
) -> None:
    """Check that optional packages are installed, without importing them.

    Args:
        purpose: What needs them, as the message begins.
        modules: Names by which they are imported.
        extra: The extra that installs them.
        error: What is raised.

    Raises:
        UserError: If one is missing; the message names the extra to install.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise error(f"{purpose} needs {' and '.join(missing)}: pip install 'chifoumi-jax[{extra}]'")


def cuda_clash(installed: Iterable[str] | None = None) -> str | None:
    """One sentence that names CUDA 12 and CUDA 13 wheels that overwrite each other, or None.

    `jax[cuda12]` installs cuDNN for CUDA 12. PyTorch from 2.11 on installs cuDNN for CUDA 13 into
    the same folder. The files of the last installation remain, and the other library crashes.

    Args:
        installed: Names of the installed distributions; by default those of this environment.
    """
    names = _installed() if installed is None else installed
    found = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    clashing = [
        f"nvidia-{library}-cu12 and nvidia-{library}-cu13"
        for library in _CLASHING_LIBRARIES
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
    # Cached, because it reads a file of each distribution.
    return frozenset(name for dist in metadata.distributions() if (name := dist.metadata["Name"]))
