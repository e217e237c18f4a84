"""Rung 4: weights from the original's files into JAX and back, bit for bit."""

import functools
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chifoumi_jax.convert import from_keras, from_torch, to_keras, to_torch
from parity.candidate import Candidate
from parity.check import Check
from parity.comparison import Comparison, compare_exactly
from parity.original import LiveOriginal, Original
from parity.originals.keras_cnn import KerasOriginal
from reference.legacy import seeded

_SIZE = 64


def checks(original: Original) -> Iterator[Check]:
    """Each kind of file, through JAX, and back into the original."""
    # What was recorded in 2018 went through no file but the golden one.
    if not isinstance(original, LiveOriginal):
        return
    forms = _KERAS if isinstance(original, KerasOriginal) else _TORCH
    for form in forms:
        yield original.check(
            4,
            case=f"{form}, there and back",
            bound=0.0,
            because="weights are copied, never computed with",
            run=functools.partial(_there_and_back, original, form),
            quick=form == forms[0],
        )


_KERAS = (".keras", ".h5", ".weights.h5", "live model")
_TORCH = ("state_dict", ".pt", ".safetensors")


def _there_and_back(original: LiveOriginal, form: str, candidate: Candidate) -> Comparison:
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(original, KerasOriginal):
            weights = seeded.cnn_weights(_SIZE, "float32")
            there, back = _through_keras(candidate, weights, form, Path(folder))
        else:
            weights = seeded.mlp_weights("float32")
            there, back = _through_torch(candidate, weights, form, Path(folder))
    return compare_exactly(there, weights, prefix="to JAX, ") + compare_exactly(
        back, weights, prefix="and back, "
    )


def _through_keras(
    candidate: Candidate, weights: Mapping[str, np.ndarray], form: str, folder: Path
) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
    from reference import keras_cnn

    original = keras_cnn.build(_SIZE)
    original.set_weights(list(weights.values()))
    source: Any = original
    if form == ".weights.h5":
        source = folder / "model.weights.h5"
        original.save_weights(source)
    elif form != "live model":
        source = folder / f"model{form}"
        original.save(source)
    model = from_keras(source, image_size=_SIZE)
    again = keras_cnn.build(_SIZE)
    if form == "live model":
        to_keras(model, again)
    else:
        to_keras(model, folder / "back.weights.h5")
        again.load_weights(folder / "back.weights.h5")
    back = dict(zip(weights, again.get_weights(), strict=True))
    return candidate.to_arrays(candidate.from_arrays(_of(model, candidate), _SIZE, "float32")), back


def _through_torch(
    candidate: Candidate, weights: Mapping[str, np.ndarray], form: str, folder: Path
) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
    import safetensors.torch
    import torch

    from reference import torch_mlp

    version = "3" if candidate.name == "study-mlp" else "2.1"
    original = torch_mlp.build(version)
    original.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    source: Any = original.state_dict()
    if form != "state_dict":
        path = folder / f"model{form}"
        save = torch.save if form == ".pt" else safetensors.torch.save_file
        save(source, path)
        source = path
    model = from_torch(source)
    to_torch(model, folder / "back.safetensors")
    again = torch_mlp.build(version)
    again.load_state_dict(safetensors.torch.load_file(folder / "back.safetensors"))
    back = {name: value.numpy() for name, value in again.state_dict().items()}
    return candidate.to_arrays(candidate.from_arrays(_of(model, candidate), 32, "float32")), back


def _of(model: Any, candidate: Candidate) -> Mapping[str, np.ndarray]:
    from chifoumi_jax.convert.arrays import cnn_to_arrays, mlp_to_arrays

    return cnn_to_arrays(model) if candidate.name == "study-cnn" else mlp_to_arrays(model)
