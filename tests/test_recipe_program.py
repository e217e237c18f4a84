"""The ladder finds faults in the program that a recipe builds."""

from typing import Any

import numpy as np
import pytest

from chifoumi_jax.data import load_pixels
from chifoumi_jax.losses import Loss
from chifoumi_jax.models import mlp
from chifoumi_jax.models.dropout import draw_mask
from chifoumi_jax.recipes import RECIPES, Recipe
from chifoumi_jax.training import program
from chifoumi_jax.training.step import make_step
from parity.check import Check, run_check
from parity.originals.keras_cnn import KerasOriginal
from parity.originals.torch_mlp import TorchMlp
from parity.rungs import pixels, recipe_program
from parity.systems.registry import CASES
from parity.verdicts import explain


def _failed(original: KerasOriginal | TorchMlp) -> list[str]:
    recipe_program._program.cache_clear()
    checks: list[Check] = list(recipe_program.checks(original))
    verdicts = [run_check(check, CASES[check.candidate].port) for check in checks]
    recipe_program._program.cache_clear()
    failed = [verdict.check for verdict in verdicts if verdict.status == "FAIL"]
    return [check.case.partition(" ")[0] for check in failed]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"learning_rate": 0.011}, ["float32,"]),
        ({"momentum": 0.9}, ["float32,"]),
        ({"loss": "softmax-twice"}, ["float32,"]),
        ({"dropout_rate": 0.25}, ["settings", "dropout", "float32,"]),
        ({"dropout_epochs": -1}, ["settings"]),
        ({"epochs": 90}, ["settings"]),
    ],
)
def test_a_wrong_recipe_is_found(
    changes: dict[str, object], found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_program, "DRAWS", 1)
    wrong: Recipe = RECIPES["study-mlp"].replace(**changes)
    monkeypatch.setitem(RECIPES, "study-mlp", wrong)
    assert _failed(TorchMlp(CASES["study-mlp"], "3", log_probabilities=True)) == found


def test_a_wrong_mask_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_program, "DRAWS", 1)
    monkeypatch.setattr(mlp, "draw_mask", lambda key, shape, rate: draw_mask(key, shape, 1 - rate))
    assert _failed(TorchMlp(CASES["study-mlp"], "3", log_probabilities=True)) == ["dropout"]


def test_a_wrong_step_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_program, "DRAWS", 1)

    def summed(graph: Any, prepare: Any, loss: Loss, *rest: Any) -> Any:
        return make_step(graph, prepare, lambda *given: 8 * loss(*given), *rest)

    monkeypatch.setattr(program, "make_step", summed)
    # Tested with SGD, because Adam hardly depends on the size of the gradients.
    assert _failed(TorchMlp(CASES["study-mlp"], "3", log_probabilities=True)) == ["float32,"]


def test_a_wrong_loader_and_a_missing_shuffle_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = KerasOriginal(CASES["study-cnn"])
    every = {check.case: check for check in pixels.checks(original)}
    loaded, order = every["loaded from PNG files of several modes"], every["order of the batches"]
    port = CASES["study-cnn"].port
    assert [run_check(check, port).status for check in (loaded, order)] == ["PASS", "PASS"]
    monkeypatch.setattr(pixels, "load_pixels", lambda *given: load_pixels(*given)[::-1])
    assert run_check(loaded, port).status == "FAIL"
    rows = port.order(294, 25, 10)
    start = iter(range(0, 10**6))
    in_order = [np.array([next(start) % 294 for _ in row]) for row in rows]
    unshuffled = port.replace(
        order=lambda *given: in_order if given[0] == 294 else port.order(*given)
    )
    assert "is not shuffled" in explain(run_check(order, unshuffled))
