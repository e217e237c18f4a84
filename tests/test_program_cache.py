"""The cache of programs: equal cache keys share a program, different ones do not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chifoumi_jax import backbones, recipes
from chifoumi_jax.recipes import SETTINGS
from chifoumi_jax.training.program_cache import program_of

CNN = recipes.study_cnn.replace(image_size=24)


def test_other_seeds_folders_and_epochs_share_the_program() -> None:
    other = CNN.replace(seed=3, data=Path("photos"), runs=Path("elsewhere"), epochs=7, name="b")
    assert program_of(other, 3, 70) is program_of(CNN, 3, 10)


def test_the_number_of_steps_counts_with_a_learning_rate_schedule() -> None:
    small = recipes.small.replace(image_size=32)
    assert program_of(small, 3, 100) is program_of(small, 3, 100)
    assert program_of(small, 3, 100) is not program_of(small, 3, 200)
    rates = [program_of(small, 3, steps).learning_rate(99) for steps in (100, 200)]
    assert rates[0] < rates[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 26},
        {"learning_rate": 2e-3},
        {"dropout_rate": 0.25},
        {"precision": "bfloat16"},
        {"standardize": True},
        {"average": 0.9},
        {"mirror_test": True},
    ],
)
def test_a_field_that_is_compiled_gives_another_program(changes: dict[str, Any]) -> None:
    assert program_of(CNN.replace(**changes), 3) is not program_of(CNN, 3)


def test_classes_and_their_weights_give_another_program() -> None:
    weights = np.array([1.0, 2.0, 0.5], np.float32)
    weighted = program_of(CNN, 3, 1, weights)
    assert weighted is program_of(CNN, 3, 1, weights.copy())
    assert len({id(one) for one in (weighted, program_of(CNN, 3), program_of(CNN, 4))}) == 3


def test_another_network_of_the_same_name_gives_another_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = recipes.small.replace(image_size=32)
    five_stages = program_of(small, 3)
    monkeypatch.setitem(backbones.BACKBONES, small.model, backbones.efficientnet_lite0(stages=2))
    assert program_of(small, 3) is not five_stages


def test_only_these_fields_are_left_out_of_the_cache_key() -> None:
    """A new field is part of the cache key unless it is declared with `compiled=False`."""
    left_out = {name for name, setting in SETTINGS.items() if not setting.compiled}
    assert left_out == {
        *("name", "epochs", "min_steps", "patience", "batch_size", "order", "dropout_epochs"),
        *("data", "hands", "groups", "train_list", "test_list", "valid_share", "strict"),
        *("seed", "runs"),
    }
