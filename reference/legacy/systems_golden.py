"""Reads the recordings of the small systems on PyTorch 1.0.0 and Keras 2.2.4.

    recording = systems_golden.load("vae")
    theirs = recording.under("float64/gradient/")
    ours = {name: systems_inputs.digest(name, value) for name, value in gradients.items()}

`systems_torch` and `systems_keras` list the keys, `systems_inputs` makes the inputs again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "golden"

_TORCH = ("sine-recurrent", "sine-denoiser", "vae", "dense-autoencoder", "fgsm", "adam")
_KERAS = ("sine-dense", "conv-autoencoder", "gan", "rmsprop", "keras-adam")
FILES = {"systems-torch-1.0.0": _TORCH, "systems-keras-2.2.4": _KERAS}
"""The systems of each file; `adam`, `rmsprop` and `keras-adam` are optimisers alone."""


class RecordingError(Exception):
    """A recording is absent, damaged, or does not have what was asked for."""


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """The recorded results of one system.

    Attributes:
        software: Versions of Python, the framework and NumPy, by name.
        arrays: The results by key, without the system's name. They must not be changed.
    """

    software: Mapping[str, str]
    arrays: Mapping[str, np.ndarray]

    def __getitem__(self, key: str) -> np.ndarray:
        """One result.

        Raises:
            RecordingError: If there is none under this key.
        """
        if key not in self.arrays:
            raise RecordingError(f"there is no recording of {key}")
        return self.arrays[key]

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """All results whose keys begin with `prefix`, by the rest of the keys.

        Raises:
            RecordingError: If no key begins so.
        """
        found = {
            key.removeprefix(prefix): value
            for key, value in self.arrays.items()
            if key.startswith(prefix)
        }
        if not found:
            raise RecordingError(f"no recording begins with {prefix}")
        return found

    def of(self, variant: str) -> Recording:
        """The results of one variant of the system.

        Raises:
            RecordingError: If there is none.
        """
        return dataclasses.replace(self, arrays=self.under(f"{variant}/"))


def load(system: str) -> Recording:
    """The recording of a system.

    Raises:
        RecordingError: If the system is unknown, or its file is absent or damaged.
    """
    for name, systems in FILES.items():
        if system in systems:
            software, arrays = _read(FOLDER / f"{name}.npz")
            prefix = f"{system}/"
            kept = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            return Recording(software, kept)
    known = ", ".join(system for systems in FILES.values() for system in systems)
    raise RecordingError(f"{system} was not recorded; choose one of {known}")


@functools.cache
def _read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    try:
        metadata = json.loads(path.with_suffix(".json").read_text())
        content = path.read_bytes()
    except OSError as error:
        raise RecordingError(
            f"{error.filename}: {error.strerror}; restore it from the repository"
        ) from error
    if hashlib.sha256(content).hexdigest() != metadata["sha256"]:
        raise RecordingError(
            f"{path} does not match the checksum in its .json file; restore both from the "
            "repository"
        )
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    for value in arrays.values():
        value.setflags(write=False)
    return metadata["versions"], arrays
