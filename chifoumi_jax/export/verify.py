"""Comparison of an exported file with the model, on real photos."""

from __future__ import annotations

import abc
import functools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float32, UInt8

from chifoumi_jax.export.formats import ExportError
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.program import build_input, build_scale
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.step import Params, forward, matmul_precision

# Relative to the largest logit, or to 1. Runtimes sum float32 products in another order, so each
# layer's sums are rounded differently, by some ulp (6e-8) of the largest partial sum. Measured in
# all formats: up to 5e-7 for the CNN and 2e-6 for EfficientNet-Lite0's 50 layers.
LOGITS_BOUND = 2e-5
# The softmax's derivative, d(p) = p (1 - p) (d(a) - d(b)), is at most half the change of a logit.
PROBABILITIES_BOUND = LOGITS_BOUND / 2
# Seconds to time each runtime, split into rounds in which the runtimes take turns, so that all are
# measured under the same load of the machine.
BUDGET, _ROUNDS = 0.9, 3

# Name of the model itself in a report.
OURS = "JAX, load(run)"
# Takes a budget in seconds, and returns the seconds of each repetition.
Timer = Callable[[float], list[float]]


class Outputs(NamedTuple):
    """A runtime's outputs for some images; logits are None if the format does not return them."""

    logits: Float32[np.ndarray, "images classes"] | None
    probabilities: Float32[np.ndarray, "images classes"]


class Runner(abc.ABC):
    """An exported file, loaded in its own runtime."""

    @abc.abstractmethod
    def predict(self, images: np.ndarray) -> Outputs:
        """The outputs for a batch of images in the format's input layout."""

    def predict_all(self, batches: Sequence[np.ndarray]) -> list[Outputs]:
        """The outputs for several batches."""
        return [self.predict(images) for images in batches]

    def seconds(self, images: np.ndarray, budget: float) -> list[float]:
        """Seconds of each prediction of a batch, repeated for `budget` seconds in all."""
        return time_repeatedly(lambda: self.predict(images), budget)


class Reference(NamedTuple):
    """Real photos and the model's outputs for them.

    Attributes:
        images: The network's input: float32 in [0, 1].
        logits: The logits divided by the temperature; their softmax gives the probabilities.
        probabilities: The probabilities that `load(run)` gives.
    """

    images: Float32[np.ndarray, "images ..."]
    logits: Float32[np.ndarray, "images classes"]
    probabilities: Float32[np.ndarray, "images classes"]


class Check(NamedTuple):
    """A compared quantity: its name, the largest absolute difference, and the bound."""

    name: str
    difference: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the difference is within its bound; false for NaN."""
        return self.difference <= self.bound


class ExportResult(NamedTuple):
    """The comparison of a file that was written, loaded again and found to compute the same.

    Attributes:
        checks: The compared quantities.
        timers: By the name of a file, a function that times it on a single photo.
        accuracies: By name, the accuracies if the export changes them.
        sizes: By name, the sizes in bytes of other files that the report lists.
    """

    checks: list[Check]
    timers: Mapping[str, Timer]
    accuracies: Mapping[str, float] = {}
    sizes: Mapping[str, int] = {}


def in_float32(classifier: Classifier) -> Classifier:
    """The classifier in full float32, the precision of all exports."""
    if classifier.recipe.precision == "float32":
        return classifier
    recipe = classifier.recipe.replace(precision="float32")
    program = program_of(recipe, len(classifier.classes))
    return Classifier(
        recipe, classifier.classes, program, classifier.weights, classifier.calibration
    )


def reference(classifier: Classifier, pixels: UInt8[np.ndarray, "images ..."]) -> Reference:
    """The classifier's outputs: logits of the network itself, probabilities as users get them."""
    compute = _reference_function(classifier.recipe, classifier.program.graph)
    images, logits = map(np.asarray, compute(classifier.weights, pixels))
    logits = _log_mean_probabilities(logits) if classifier.recipe.mirror_test else logits[0]
    calibrated = (logits / classifier.calibration.temperature).astype(np.float32)
    return Reference(images, calibrated, classifier.probabilities(pixels))


@functools.lru_cache(maxsize=2)
def _reference_function(
    recipe: Recipe, graph: nnx.GraphDef[Any]
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    # Cached, because a run that is exported to several formats needs the same function for each.
    @jax.jit
    def compute(weights: Params, pixels: jax.Array) -> tuple[jax.Array, jax.Array]:
        with matmul_precision("float32"):
            images = build_input(recipe)(pixels)
            views = (images, images[:, :, ::-1]) if recipe.mirror_test else (images,)
            logits = forward(graph, weights, jnp.concatenate(views), None, "float32")
        return build_scale(recipe)(pixels), logits.reshape(len(views), len(pixels), -1)

    return compute


def _log_mean_probabilities(logits: np.ndarray) -> np.ndarray:
    exact = logits.astype(np.float64)
    powers = np.exp(exact - exact.max(axis=2, keepdims=True))
    return np.log((powers / powers.sum(axis=2, keepdims=True)).mean(axis=0))


def scaled(classifier: Classifier, pixels: UInt8[np.ndarray, "images ..."]) -> np.ndarray:
    """Pixels as the network's input: float32 in [0, 1]."""
    return np.asarray(jax.jit(build_scale(classifier.recipe))(pixels))


def compare(runner: Runner, expected: Reference, images: np.ndarray) -> list[Check]:
    """Compare an exported file with the model, on batches of one, three and all photos.

    Args:
        runner: The exported file.
        expected: The model's outputs.
        images: The photos in the file's input layout.

    Raises:
        ExportError: If a difference is over its bound.
    """
    scale = max(1.0, float(np.abs(expected.logits).max()))
    largest: dict[str, float] = {}
    counts = sorted({1, min(3, len(images)), len(images)})
    batches = runner.predict_all([images[:count] for count in counts])
    for count, outputs in zip(counts, batches, strict=True):
        for name in ("logits", "probabilities"):
            got, want = getattr(outputs, name), getattr(expected, name)[:count]
            if got is None:
                continue
            if got.shape != want.shape:
                raise ExportError(
                    f"the exported file's {name} have shape {got.shape}; expected {want.shape}"
                )
            largest[name] = max(largest.get(name, 0.0), max_difference(got, want))
    bounds = {"logits": LOGITS_BOUND * scale, "probabilities": PROBABILITIES_BOUND * scale}
    checks = [Check(name, difference, bounds[name]) for name, difference in largest.items()]
    require_within_bounds(checks)
    return checks


def max_difference(got: np.ndarray, want: np.ndarray) -> float:
    """The largest absolute difference; infinity if it is not finite."""
    difference = float(np.abs(got.astype(np.float64) - want.astype(np.float64)).max())
    return difference if np.isfinite(difference) else float("inf")


def require_within_bounds(checks: list[Check]) -> None:
    """Raise an error if a difference is over its bound.

    Raises:
        ExportError: With the quantity and the bound.
    """
    for check in checks:
        if not check.holds:
            raise ExportError(
                "the exported file does not compute what the model computes, so it was deleted; "
                f"{check.name}: difference {check.difference:.2g}, bound {check.bound:.2g}"
            )


class _ClassifierRunner(Runner):
    """Runs a classifier, whose input is pixels."""

    def __init__(self, classifier: Classifier):
        self._classifier = classifier

    def predict(self, images: np.ndarray) -> Outputs:
        """See `Runner`."""
        return Outputs(None, self._classifier.probabilities(images))


def compare_classifiers(
    loaded: Classifier, expected: Reference, pixels: UInt8[np.ndarray, "images ..."]
) -> list[Check]:
    """`compare` for a classifier that was loaded from a file."""
    return compare(_ClassifierRunner(loaded), expected, pixels)


def timer(runner: Runner, images: np.ndarray) -> Timer:
    """A function that times an exported file on these images."""
    return lambda budget: runner.seconds(images, budget)


def classifier_timer(classifier: Classifier, pixels: UInt8[np.ndarray, "images ..."]) -> Timer:
    """A function that times a classifier on these pixels."""
    return timer(_ClassifierRunner(classifier), pixels)


def time_each(timers: Mapping[str, Timer]) -> dict[str, float]:
    """Median seconds of each timer; they take turns, and a turn's first repetition is dropped."""
    all_seconds: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(_ROUNDS):
        for name, measure in timers.items():
            all_seconds[name] += measure(BUDGET / _ROUNDS)[1:]
    return {name: statistics.median(seconds) for name, seconds in all_seconds.items()}


def time_repeatedly(work: Callable[[], object], budget: float) -> list[float]:
    """Seconds of each repetition; at least three, and at least `budget` seconds in all."""
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < budget:
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds
