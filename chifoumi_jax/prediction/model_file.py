"""Writing and loading a classifier as one safetensors file with recipe, classes, calibration."""

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
from chifoumi_jax.convert.untrusted.errors import WeightsError, error_context
from chifoumi_jax.convert.untrusted.limits import MAX_CLASSES, MAX_KERAS_BYTES
from chifoumi_jax.convert.untrusted.safetensors import read_metadata, read_safetensors
from chifoumi_jax.convert.untrusted.source import open_weights
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
    """Write the classifier; its weights have the names and layouts of `chifoumi_jax.convert`.

    These are Keras' for the CNN (`conv2d_1/kernel`, …) and PyTorch's for the other networks:
    `from_torch` reads a perceptron, `efficientnet_lite0_from_torch` an EfficientNet-Lite0. `half`
    rounds the weights to float16, which only `load_safetensors` reads.
    """
    from safetensors.numpy import save

    fields = dataclasses.asdict(classifier.recipe)
    # Paths of photos and runs are private, and useless on another machine.
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
    """The classifier's weights, by the names of `chifoumi_jax.convert`.

    Raises:
        WeightsError: If the network has no such names.
    """
    to_arrays = architecture(classifier.recipe.model).to_arrays
    if to_arrays is None:
        raise WeightsError(
            f"the network {classifier.recipe.model} cannot be written as safetensors: its "
            "architecture must define to_arrays"
        )
    return to_arrays(nnx.merge(classifier.program.graph, classifier.weights))


def load_safetensors(path: str | os.PathLike[str]) -> Classifier:
    """Load the classifier in a file of `chifoumi export --to safetensors`; all content is checked.

    Raises:
        WeightsError: If the file is damaged, malicious or of another format.
    """
    with (
        error_context(os.fspath(path)),
        open_weights(path, (SUFFIX,), MAX_KERAS_BYTES) as (file, _),
    ):
        metadata = read_metadata(file)
        if metadata.get("chifoumi") != _FORMAT:
            raise WeightsError(
                f"it is not a classifier of the format {_FORMAT}, which chifoumi export writes"
            )
        recipe = _read_recipe(_read_field(metadata, "recipe", dict))
        classes = _read_classes(_read_field(metadata, "classes", list))
        calibration = _read_calibration(_read_field(metadata, "calibration", dict))
        model = _build_model(recipe, read_safetensors(file, widen=True))
    with error_context(os.fspath(path)):
        if model.num_classes != len(classes):
            raise WeightsError(
                f"it names {len(classes)} classes; its weights have {model.num_classes}"
            )
    weights: Params = merge_statistics(nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat))
    program = program_of(recipe, len(classes))
    weights = jax.device_put(weights, program.replicated)
    return Classifier(recipe, classes, program, weights, calibration)


def _build_model(recipe: Recipe, tensors: Arrays) -> Network:
    network = find_architecture(recipe.model)
    if network is None or network.from_arrays is None:
        raise WeightsError(f"its recipe has model {recipe.model[:80]!r}, which no version exports")
    return network.from_arrays(tensors, recipe.image_size)


def _read_field(metadata: Mapping[str, str], name: str, expected: type) -> Any:
    if name not in metadata:
        raise WeightsError(f"its metadata have no {name}")
    value = parse(metadata[name].encode(), name)
    if not isinstance(value, expected):
        raise WeightsError(
            f"its {name} is a {type(value).__name__}; expected a {expected.__name__}"
        )
    return value


def _read_recipe(fields: dict[str, Any]) -> Recipe:
    hints = {name: hint for name, hint in TYPES.items() if name not in PATHS}
    for name, value in fields.items():
        if name not in hints:
            raise WeightsError(f"its recipe has {name[:80]}, which this version does not know")
        hint = hints[name]
        if get_origin(hint) is Literal:
            is_valid = isinstance(value, str) and value in get_args(hint)
        else:
            is_valid = type(value) is hint or (hint is float and type(value) is int)
        if not is_valid:
            raise WeightsError(f"its recipe has {name} {value!r}, which is not a valid value")
    try:
        return Recipe(**fields)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"its recipe is not valid: {error}") from error


def _read_classes(names: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise WeightsError("its classes are not distinct names")
    if not 1 <= len(names) <= MAX_CLASSES:
        raise WeightsError(f"it has {len(names)} classes; expected 1 to {MAX_CLASSES}")
    return tuple(names)


def _read_calibration(fields: dict[str, Any]) -> Calibration:
    try:
        found = Calibration(
            float(fields["temperature"]), float(fields["threshold"]), int(fields["photos"])
        )
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise WeightsError(f"its calibration cannot be read: {error}") from error
    if not (0 < found.temperature < np.inf and 0 <= found.threshold <= 1):
        raise WeightsError(
            f"its temperature {found.temperature} or threshold {found.threshold} is out of range"
        )
    return found
