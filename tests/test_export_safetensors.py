"""A classifier in a safetensors file: round trip, and refusal of damaged or malicious files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from chifoumi_jax import load, recipes
from chifoumi_jax.convert import WeightsError, from_torch
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.model_file import load_safetensors, write
from chifoumi_jax.training.calibration import Calibration
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.run import RunError


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = recipes.study_mlp.replace(data="/home/somebody/photos")
    program = program_of(recipe, 3)
    weights = program.init(program.seeds(0)[0]).weights
    classifier = Classifier(recipe, "abc", program, weights, Calibration(0.5, 0.9, 20))
    path = tmp_path_factory.mktemp("file") / "model.safetensors"
    write(classifier, path)
    return path


def _metadata(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + size])["__metadata__"]
    return found


def test_round_trip(file: Path) -> None:
    found = load(file)
    assert found.classes == ("a", "b", "c")
    assert found.calibration == Calibration(0.5, 0.9, 20)
    assert found.recipe == recipes.study_mlp
    assert b"somebody" not in file.read_bytes()
    # The names of the weights are PyTorch's.
    assert from_torch(file).num_classes == 3
    with pytest.raises(RunError, match="for the best checkpoint name the run's folder"):
        load(file, best=True)


def _recipe(**changes: Any) -> Callable[[dict[str, str]], dict[str, str]]:
    def change(metadata: dict[str, str]) -> dict[str, str]:
        fields = json.loads(metadata["recipe"]) | changes
        return metadata | {"recipe": json.dumps(fields)}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: {}, "not a classifier of the format"),
        (lambda found: found | {"chifoumi": "chifoumi-2"}, "not a classifier of the format"),
        (lambda found: {k: v for k, v in found.items() if k != "classes"}, "have no classes"),
        (lambda found: found | {"classes": "{}"}, "classes is a dict; expected a list"),
        (lambda found: found | {"classes": '["a", "a", "b"]'}, "not distinct names"),
        (lambda found: found | {"classes": '["a", "b"]'}, "names 2 classes; its weights have 3"),
        (lambda found: found | {"recipe": "[" * 100}, "recipe is not JSON|nested too deep"),
        (lambda found: found | {"recipe": '{"name": "x"}'}, "recipe is not valid"),
        (lambda found: found | {"calibration": '{"temperature": 0}'}, "calibration cannot be read"),
        (
            lambda found: (
                found | {"calibration": '{"temperature": -1, "threshold": 0.5, "photos": 3}'}
            ),
            "is out of range",
        ),
        (_recipe(model="resnet"), "has model 'resnet'"),
        (_recipe(model="cnn", image_size=24), "conv2d_1/kernel is missing"),
        (_recipe(seed="0"), "has seed '0'"),
        (_recipe(upright=1), "has upright 1"),
        (_recipe(image_size=10**9), "image_size must be 32 for mlp"),
        (_recipe(data="/etc"), "has data, which this version does not know"),
    ],
)
def test_refuses_bad_metadata(change: Any, message: str, file: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(load_file(file), path, metadata=change(_metadata(file)))
    with pytest.raises(WeightsError, match=f"x.safetensors: .*({message})"):
        load_safetensors(path)


def test_refuses_weights_that_are_not_finite(file: Path, tmp_path: Path) -> None:
    path, arrays = tmp_path / "x.safetensors", load_file(file)
    arrays["fc1.bias"][3] = np.nan
    save_file(arrays, path, metadata=_metadata(file))
    with pytest.raises(WeightsError, match="weights must be finite"):
        load_safetensors(path)


def test_refuses_a_truncated_file(file: Path, tmp_path: Path) -> None:
    path, content = tmp_path / "x.safetensors", file.read_bytes()
    for length in (0, 4, 100, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match=r"x\.safetensors"):
            load_safetensors(path)
