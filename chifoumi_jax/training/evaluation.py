"""Evaluation of a training: probabilities of a split's images, and the study's own figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int32

from chifoumi_jax.backbones import architecture
from chifoumi_jax.data.augment_study import study_mlp_augmentation
from chifoumi_jax.data.order import Order, pad
from chifoumi_jax.data.pipeline import Batch, all_batches, gather, padded_size
from chifoumi_jax.metrics import RunningMean, accuracy, confusion_matrix, wilson_interval
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.calibration import Calibration, calibrate
from chifoumi_jax.training.program import Program
from chifoumi_jax.training.step import Params

if TYPE_CHECKING:
    from chifoumi_jax.data.dataset import Dataset, Split

# Pixels in a batch: 25 images of 600 x 600 pixels keep the cores busy and take little memory.
_BATCH_PIXELS = 25 * 600 * 600


class Outcome(NamedTuple):
    """A model's answers to labelled images, and their mean loss."""

    labels: Int32[np.ndarray, " images"]
    probabilities: Float32[np.ndarray, "images classes"]
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of images whose most probable class is their label."""
        return accuracy(self.labels, self.probabilities)


class Evaluation:
    """Evaluates a program's parameters on a data set's splits."""

    def __init__(self, recipe: Recipe, program: Program, data: Dataset):
        self._recipe = recipe
        self._program = program
        self._data = data
        # No larger than the validation and test splits, so that one compilation serves all splits.
        height, width, *_ = recipe.input_shape
        pixels = _BATCH_PIXELS // architecture(recipe.model).relative_memory
        limit = max(1, pixels // (height * width))
        self._batch_size = min(limit, max(25, len(data.valid), len(data.test)))

    def outcome(self, weights: Params, split: Split) -> Outcome:
        """The model's answers to all images of a split, which must not be empty."""
        return evaluate_batches(self._program, weights, self._batches(split))

    def _batches(self, split: Split) -> Iterable[Batch]:
        return all_batches(self._data.pixels, split, self._batch_size, self._program.devices)

    def validation(self, weights: Params) -> dict[str, float]:
        """Loss and accuracy on the validation photos; empty if there are none."""
        if not len(self._data.valid):
            return {}
        outcome = self.outcome(weights, self._data.valid)
        return {"valid_loss": outcome.loss, "valid_accuracy": outcome.accuracy}

    def study_validation(self, weights: Params, epoch: int) -> dict[str, float]:
        """The study's validation: each epoch takes the next batches of the test photos.

        The study had 52 test images in batches of 25 and took two batches an epoch from a generator
        that kept its place between epochs: 25 + 25 images, then 2 + 25, then 25 + 2.
        """
        test = self._data.test
        if not len(test):
            return {}
        order = Order(
            images=len(test),
            batch_size=self._recipe.batch_size or len(test),
            epochs=self._recipe.epochs,
            # An order that differs from that of the training images.
            seed=self._recipe.seed + 1,
            kind="keras",
        )
        size = padded_size(order.batch_size, self._program.devices)
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        batches = (gather(self._data.pixels, test, pad(order[step], size)) for step in steps)
        loss, correct = RunningMean(), RunningMean()
        for batch in batches:
            _, sums = jax.device_get(self._program.evaluate(weights, batch))
            loss.add(float(sums.loss), float(sums.images))
            correct.add(float(sums.correct), float(sums.images))
        return {"study_valid_loss": loss.mean, "study_valid_accuracy": correct.mean}

    def calibration(self, weights: Params) -> Calibration | None:
        """The calibration on the validation photos; None if there are none."""
        if not len(self._data.valid):
            return None
        outcome = self.outcome(weights, self._data.valid)
        return calibrate(outcome.labels, outcome.probabilities)

    def results(self, weights: Params) -> tuple[dict[str, Any], Outcome | None]:
        """The content of `results.json`, and the outcome on the test photos if there are any."""
        results = _figures("train", self.outcome(weights, self._data.train))
        if not len(self._data.test):
            return results, None
        outcome = self.outcome(weights, self._data.test)
        results |= _figures("test", outcome)
        results["test_confusion"] = confusion_matrix(outcome.labels, outcome.probabilities).tolist()
        if self._recipe.augment_test:
            results |= _figures("study_test", self._study_test(weights))
        return results, outcome

    def _study_test(self, weights: Params) -> Outcome:
        """The outcome on one fixed augmentation of the test photos."""
        key = jax.random.key(self._recipe.seed)
        augment = jax.jit(study_mlp_augmentation)

        def augmented() -> Iterable[Batch]:
            for number, batch in enumerate(self._batches(self._data.test)):
                pixels = augment(jax.random.fold_in(key, number), batch.pixels)
                yield batch._replace(pixels=np.asarray(pixels))

        return evaluate_batches(self._program, weights, augmented())


def evaluate_batches(program: Program, weights: Params, batches: Iterable[Batch]) -> Outcome:
    """The model's answers to all images of the batches, without the padding."""
    labels, probabilities, loss = [], [], RunningMean()
    for batch in batches:
        rows, sums = jax.device_get(program.evaluate(weights, batch))
        not_padding = batch.weights > 0
        labels.append(batch.labels[not_padding])
        probabilities.append(rows[not_padding])
        loss.add(float(sums.loss), float(sums.images))
    return Outcome(np.concatenate(labels), np.concatenate(probabilities), loss.mean)


def sentences(results: Mapping[str, Any]) -> Iterable[str]:
    """The results in words, one sentence for each split."""
    names = {
        "train": "training photos",
        "test": "test photos",
        "study_test": "test photos under the study's augmentation",
    }
    for name, text in names.items():
        if f"{name}_accuracy" not in results:
            continue
        correct, images = results[f"{name}_correct"], results[f"{name}_images"]
        low, high = wilson_interval(correct, images)
        yield (
            f"Accuracy on {text}: {correct / images:.2%} "
            f"({correct} of {images}; 95 % interval {low:.1%} to {high:.1%})."
        )


def _figures(name: str, outcome: Outcome) -> dict[str, Any]:
    """The figures of an outcome; each key starts with `name`."""
    images = len(outcome.labels)
    return {
        f"{name}_accuracy": outcome.accuracy,
        f"{name}_loss": outcome.loss,
        f"{name}_correct": round(outcome.accuracy * images),
        f"{name}_images": images,
    }
