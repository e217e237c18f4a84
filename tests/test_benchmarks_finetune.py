"""The fine-tuning benchmark times the same work in JAX and in PyTorch.

The whole case compiles EfficientNet-Lite0 twice, which takes too long for a test. Its parts run
here on smaller inputs.
"""

import inspect
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

from benchmarks import cases
from benchmarks.__main__ import Options, settings
from benchmarks.baselines import finetune_chifoumi, finetune_torch
from benchmarks.measure import Measurement
from chifoumi_jax import count_params, recipes
from chifoumi_jax.models import EfficientNetLite0
from chifoumi_jax.ops import depthwise_conv
from chifoumi_jax.training.program import build_model


def test_depthwise_convolution_equals_xla() -> None:
    random = np.random.default_rng(0)
    for stride in (1, 2):
        images = jnp.asarray(random.random((2, 7, 7, 8), np.float32))
        kernel = jnp.asarray(random.random((3, 3, 8), np.float32))
        # Sums of nine products of the same sign, added in another order.
        np.testing.assert_allclose(
            finetune_chifoumi._by_xla(images, kernel, stride),
            depthwise_conv(images, kernel, stride),
            rtol=1e-5,
        )


@pytest.mark.parametrize("task", ["depthwise", "depthwise_by_xla"])
def test_a_convolution_is_timed_with_its_gradients(task: str) -> None:
    result, (image_gradient, kernel_gradient) = getattr(finetune_chifoumi, task)(2, 6, 8)()
    assert result.shape == image_gradient.shape == (2, 6, 6, 8)
    assert kernel_gradient.shape == (3, 3, 8)


@pytest.mark.parametrize("task", ["recipe", "all_stages"])
def test_fine_tuning_takes_training_steps(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        recipes, "transfer", recipes.transfer.replace(model="cnn", pretrained=False)
    )
    steps = getattr(finetune_chifoumi, task)(4, 24)
    steps()
    steps()


def test_jax_and_torch_train_the_same_number_of_parameters() -> None:
    ours = nnx.eval_shape(lambda: build_model(recipes.transfer, 3, nnx.Rngs(0)))
    assert isinstance(ours, EfficientNetLite0)
    frozen = [ours.stem, *ours.blocks[: ours.frozen_blocks]]
    theirs = finetune_torch._frozen(finetune_torch._model(32))
    untrained = [each.numel() for each in theirs.parameters() if not each.requires_grad]
    assert sum(untrained) == sum(map(count_params, frozen)) > 0
    assert sum(each.numel() for each in theirs.parameters()) == count_params(ours)


def test_torch_takes_training_steps() -> None:
    for task in (finetune_torch.recipe, finetune_torch.all_stages):
        step = task(2, 32)
        step()
        step()
    finetune_torch.depthwise(2, 6, 8)()


def test_every_baseline_function_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def worker(python: str, arguments: Sequence[Any], *_: object) -> Measurement:
        started.append(arguments)
        return lambda: ([1.0], 1, {})

    monkeypatch.setattr(cases, "worker", worker)
    sizes = settings(Options(rounds=1, data=Path()), Console(quiet=True))
    found = list(cases.finetune(sizes))
    assert [case.name for case in found] == [
        "fine-tuning step, two stages frozen, 128 px, batch 32",
        "fine-tuning step, every stage, 128 px, batch 32",
        "depthwise convolution and its gradients, 32 x 32 x 32 x 144",
    ]
    assert all(case.rows[0].name.startswith("chifoumi-jax") for case in found)
    assert len(started) == 3 + 3 + 4
    for module, task, *numbers in started:
        signature = inspect.signature(
            getattr(import_module(f"benchmarks.baselines.{module}"), task)
        )
        # The last two numbers are the budget and the least number of repetitions.
        assert len(signature.parameters) == len(numbers) - 2
