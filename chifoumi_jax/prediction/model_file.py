"""A whole classifier in a safetensors file: weights, recipe, classes and calibration, and back."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import jax
import numpy as np
from flax import nnx

from chifoumi_jax.backbones import architecture, find_architecture
from chifoumi_jax.convert.arrays import (
    Arrays,
)
from chifoumi_jax.convert.untrusted.errors import WeightsError, about
from chifoumi_jax.convert.untrusted.limits import MAX_CLASSES, MAX_KERAS_BYTES
from chifoumi_jax.convert.untrusted.safetensors import read_metadata, read_safetensors
from chifoumi_jax.convert.untrusted.source import opened
from chifoumi_jax.convert.untrusted.strict_json import parse
from chifoumi_jax.models.network import Network
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.recipes import PATHS, TYPES, Recipe
from chifoumi_jax.training.calibration import Calibration
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.step import Params, merge_statistics

SUFFIX = ".safetensors"
_FORMAT = "chifoumi-1"


def write(classifier: Classifier, path: Path, *, half: bool = False) -> None:
    """Write the classifier, its weights by the names of `chifoumi_jax.convert`.

    Those are Keras' for the CNN (`conv2d_1/kernel`, …) and PyTorch's for the others, in their
    layouts: `from_torch` reads a perceptron, `efficientnet_lite0_from_torch` the other one.
    `half` rounds them to float16, which `load_safetensors` alone reads.
    """
    from safetensors.numpy import save

    fields = dataclasses.asdict(classifier.recipe)
    # Where the photos and the runs lie concerns nobody else.
    recipe = {name: value for name, value in fields.items() if name not in PATHS}
    metadata = {
        "format": "pt",
        "chifoumi": _FORMAT,
        "recipe": json.dumps(recipe),
        "classes": json.dumps(classifier.classes),
        "calibration": json.dumps(dataclasses.asdict(classifier.calibration)),
    }
    tensors = arrays(classifier)
    if half:
        tensors = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    path.write_bytes(save(tensors, metadata=metadata))


def arrays(classifier: Classifier) -> dict[str, np.ndarray]:
    """The classifier's weights by the names of `chifoumi_jax.convert`."""
    to_arrays = architecture(classifier.recipe.model).to_arrays
    if to_arrays is None:
        raise WeightsError(f"the network {classifier.recipe.model} has no names for safetensors")
    return to_arrays(nnx.merge(classifier.program.graph, classifier.weights))


def load_safetensors(path: str | os.PathLike[str]) -> Classifier:
    """The classifier in a file of `chifoumi export --to safetensors`; its content is checked first.

    Raises:
        WeightsError: If the file is damaged, hostile or of another kind.
    """
    with about(os.fspath(path)), opened(path, (SUFFIX,), MAX_KERAS_BYTES) as (file, _):
        metadata = read_metadata(file)
        if metadata.get("chifoumi") != _FORMAT:
            raise WeightsError(
                f"it is no classifier of the format {_FORMAT}, which chifoumi export writes"
            )
        recipe = _recipe(_part(metadata, "recipe", dict))
        classes = _classes(_part(metadata, "classes", list))
        calibration = _calibration(_part(metadata, "calibration", dict))
        model = _model(recipe, read_safetensors(file, widen=True))
    with about(os.fspath(path)):
        if model.num_classes != len(classes):
            raise WeightsError(f"it names {len(classes)} classes for {model.num_classes}")
    weights: Params = merge_statistics(nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat))
    program = program_of(recipe, len(classes))
    weights = jax.device_put(weights, program.replicated)
    return Classifier(recipe, classes, program, weights, calibration)


def _model(recipe: Recipe, tensors: Arrays) -> Network:
    network = find_architecture(recipe.model)
    if network is None or network.from_arrays is None:
        raise WeightsError(f"its recipe has model {recipe.model[:80]!r}, which no version writes")
    return network.from_arrays(tensors, recipe.image_size)


def _part(metadata: Mapping[str, str], name: str, kind: type) -> Any:
    if name not in metadata:
        raise WeightsError(f"its metadata have no {name}")
    found = parse(metadata[name].encode(), name)
    if not isinstance(found, kind):
        raise WeightsError(f"its {name} is a {type(found).__name__}; expected a {kind.__name__}")
    return found


def _recipe(fields: dict[str, Any]) -> Recipe:
    hints = {name: hint for name, hint in TYPES.items() if name not in PATHS}
    for name, value in fields.items():
        if name not in hints:
            raise WeightsError(f"its recipe has a {name[:80]}, which this version does not know")
        hint = hints[name]
        if get_origin(hint) is Literal:
            fits = isinstance(value, str) and value in get_args(hint)
        else:
            fits = type(value) is hint or (hint is float and type(value) is int)
        if not fits:
            raise WeightsError(f"its recipe has {name} {value!r}")
    try:
        return Recipe(**fields)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"its recipe cannot be: {error}") from error


def _classes(names: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise WeightsError("its classes are not names, each once")
    if not 1 <= len(names) <= MAX_CLASSES:
        raise WeightsError(f"it has {len(names)} classes; expected 1 to {MAX_CLASSES}")
    return tuple(names)


def _calibration(fields: dict[str, Any]) -> Calibration:
    try:
        found = Calibration(
            float(fields["temperature"]), float(fields["threshold"]), int(fields["photos"])
        )
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise WeightsError(f"its calibration cannot be read: {error}") from error
    if not (0 < found.temperature < np.inf and 0 <= found.threshold <= 1):
        raise WeightsError("its calibration is none")
    return found
