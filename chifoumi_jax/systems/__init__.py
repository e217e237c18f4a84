"""The study's small systems: sine fits and denoisers, an attack, autoencoders, a VAE, a GAN.

from chifoumi_jax import systems

run = systems.get("sine-dense").fit()
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING

from chifoumi_jax.errors import UserError

if TYPE_CHECKING:
    from chifoumi_jax.systems.system import System

__all__ = ["UnknownSystemError", "get", "names"]

# A system's module has its class `System` with this name; the order is that of the table.
_NAMES = ("sine-recurrent", "sine-dense", "vae", "dense-autoencoder")


class UnknownSystemError(UserError, KeyError):
    """No system has this name."""

    __str__ = Exception.__str__


def names() -> tuple[str, ...]:
    """The names of all systems."""
    return _NAMES


@functools.cache
def get(name: str) -> System:
    """The system with this name; its module is imported now.

    Raises:
        UnknownSystemError: If there is none.
    """
    if name not in _NAMES:
        raise UnknownSystemError(f"{name} is no system; choose one of {', '.join(_NAMES)}")
    module = import_module(f"chifoumi_jax.systems.{name.replace('-', '_')}")
    system: System = module.SYSTEM
    return system
