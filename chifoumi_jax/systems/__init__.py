"""The study's systems: sine fits and denoisers, an attack, autoencoders, a VAE, a GAN, and photos.

from chifoumi_jax import systems

run = systems.get("sine-dense").fit()
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any

from chifoumi_jax.errors import UserError

if TYPE_CHECKING:
    from chifoumi_jax.systems.photo_classifiers import PhotoClassifier
    from chifoumi_jax.systems.system import System

__all__ = ["UnknownSystemError", "get", "names", "small_names"]

# A system's module has its class `System` with this name; the order is that of the table.
_SMALL = (
    "sine-denoiser",
    "sine-recurrent",
    "sine-dense",
    "fgsm",
    "conv-autoencoder",
    "vae",
    "dense-autoencoder",
    "gan",
)
_PHOTOS = ("cnn", "mlp")


class UnknownSystemError(UserError, KeyError):
    """No system has this name."""

    __str__ = Exception.__str__


def names() -> tuple[str, ...]:
    """The names of all systems; the last two are the photo classifiers."""
    return _SMALL + _PHOTOS


def small_names() -> tuple[str, ...]:
    """The names of the small systems, which share one training loop."""
    return _SMALL


@functools.cache
def get(name: str) -> Any:
    """The system with this name; its module is imported now.

    Returns:
        A `System`, or for "cnn" and "mlp" a `PhotoClassifier`.

    Raises:
        UnknownSystemError: If there is none.
    """
    if name in _PHOTOS:
        return photo_classifier(name)
    return small(name)


def photo_classifier(name: str) -> PhotoClassifier:
    """The photo classifier with this name."""
    from chifoumi_jax.systems import photo_classifiers

    found: PhotoClassifier = getattr(photo_classifiers, f"{name.upper()}_SYSTEM")
    return found


def small(name: str) -> System:
    """The small system with this name.

    Raises:
        UnknownSystemError: If there is none.
    """
    if name not in _SMALL:
        raise UnknownSystemError(f"{name} is no system; choose one of {', '.join(names())}")
    system: System = import_module(f"chifoumi_jax.systems.{name.replace('-', '_')}").SYSTEM
    return system


def __getattr__(name: str) -> Any:
    """Import a system's module on first use, such as `systems.vae`."""
    if name.replace("_", "-") in _SMALL:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
