"""Whether what was written computes what the model computes, on real photos."""

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

# Runtimes add float32 products up in another order, and each sum is rounded otherwise, layer after
# layer: some ulp (6e-8) of the largest partial sum. In proportion to the largest logit, or to 1.
# Measured in all formats: up to 5e-7 for the CNN and 2e-6 for EfficientNet-Lite0's 50 layers.
LOGITS_BOUND = 2e-5
# The softmax' slope: d(p) = p (1 - p) (d(a) - d(b)) is at most half of what a logit moves by.
PROBABILITIES_BOUND = LOGITS_BOUND / 2
# Seconds that a timing may take, in rounds, so that all see the same machine.
BUDGET, _ROUNDS = 0.9, 3

# How a report calls the model itself.
OURS = "JAX, load(run)"
Timed = Callable[[float], list[float]]


class Answers(NamedTuple):
    """What a runtime says of some images. Some formats give no logits, or do not tell them."""

    logits: Float32[np.ndarray, "images classes"] | None
    probabilities: Float32[np.ndarray, "images classes"]


class Runner(abc.ABC):
    """A written file, loaded in its own runtime."""

    @abc.abstractmethod
    def answer(self, images: np.ndarray) -> Answers:
        """Its answers on a batch of images as the format takes them."""

    def answer_all(self, batches: Sequence[np.ndarray]) -> list[Answers]:
        """Its answers on several batches."""
        return [self.answer(images) for images in batches]

    def seconds(self, images: np.ndarray, budget: float) -> list[float]:
        """How long a batch takes, again and again for so many seconds in all."""
        return repeat(lambda: self.answer(images), budget)


class Reference(NamedTuple):
    """Real photos and the model's word on them.

    Attributes:
        images: As the network takes them: float32 in [0, 1].
        logits: Over the temperature, so that their softmax gives the probabilities.
        probabilities: What `load(run)` says.
    """

    images: Float32[np.ndarray, "images ..."]
    logits: Float32[np.ndarray, "images classes"]
    probabilities: Float32[np.ndarray, "images classes"]


class Check(NamedTuple):
    """A quantity that was compared: the largest absolute difference, and what it may be."""

    name: str
    difference: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the difference, which may be NaN, is within its bound."""
        return self.difference <= self.bound


class Made(NamedTuple):
    """A file that was written, loaded again and found to compute the same.

    Attributes:
        checks: What was compared.
        timed: By name, what times a photo alone, for a budget of seconds.
        accuracies: By name, where they differ.
        sizes: Bytes of other files that are told beside it.
    """

    checks: list[Check]
    timed: Mapping[str, Timed]
    accuracies: Mapping[str, float] = {}
    sizes: Mapping[str, int] = {}


def exact(classifier: Classifier) -> Classifier:
    """The classifier in full float32, which is what an export computes in."""
    if classifier.recipe.precision == "float32":
        return classifier
    recipe = classifier.recipe.replace(precision="float32")
    program = program_of(recipe, len(classifier.classes))
    return Classifier(
        recipe, classifier.classes, program, classifier.weights, classifier.calibration
    )


def reference(classifier: Classifier, pixels: UInt8[np.ndarray, "images ..."]) -> Reference:
    """The classifier's answers; logits from the network itself, probabilities as users get them."""
    ask = _asking(classifier.recipe, classifier.program.graph)
    images, logits = map(np.asarray, ask(classifier.weights, pixels))
    logits = _logarithm_of_mean(logits) if classifier.recipe.mirror_test else logits[0]
    tempered = (logits / classifier.calibration.temperature).astype(np.float32)
    return Reference(images, tempered, classifier.probabilities(pixels))


@functools.lru_cache(maxsize=2)
def _asking(recipe: Recipe, graph: nnx.GraphDef[Any]) -> Callable[..., tuple[jax.Array, jax.Array]]:
    # Kept: a run that is written in several formats is asked the same in each.
    @jax.jit
    def ask(weights: Params, pixels: jax.Array) -> tuple[jax.Array, jax.Array]:
        with matmul_precision("float32"):
            images = build_input(recipe)(pixels)
            sides = (images, images[:, :, ::-1]) if recipe.mirror_test else (images,)
            logits = forward(graph, weights, jnp.concatenate(sides), None, "float32")
        return build_scale(recipe)(pixels), logits.reshape(len(sides), len(pixels), -1)

    return ask


def _logarithm_of_mean(logits: np.ndarray) -> np.ndarray:
    exact = logits.astype(np.float64)
    powers = np.exp(exact - exact.max(axis=2, keepdims=True))
    return np.log((powers / powers.sum(axis=2, keepdims=True)).mean(axis=0))


def scaled(classifier: Classifier, pixels: UInt8[np.ndarray, "images ..."]) -> np.ndarray:
    """Pixels as the network takes them: float32 in [0, 1]."""
    return np.asarray(jax.jit(build_scale(classifier.recipe))(pixels))


def compare(runner: Runner, wanted: Reference, given: np.ndarray) -> list[Check]:
    """Compare a written file with the model, on all photos at once, three, and one.

    Args:
        runner: The file.
        wanted: The model's word.
        given: The photos as the file takes them.

    Raises:
        ExportError: If a difference is over its bound.
    """
    scale = max(1.0, float(np.abs(wanted.logits).max()))
    largest: dict[str, float] = {}
    counts = sorted({1, min(3, len(given)), len(given)})
    answers = runner.answer_all([given[:count] for count in counts])
    for count, found in zip(counts, answers, strict=True):
        for name in ("logits", "probabilities"):
            got, want = getattr(found, name), getattr(wanted, name)[:count]
            if got is None:
                continue
            if got.shape != want.shape:
                raise ExportError(f"{name} have the shape {got.shape}; expected {want.shape}")
            largest[name] = max(largest.get(name, 0.0), distance(got, want))
    bounds = {"logits": LOGITS_BOUND * scale, "probabilities": PROBABILITIES_BOUND * scale}
    checks = [Check(name, difference, bounds[name]) for name, difference in largest.items()]
    require(checks)
    return checks


def distance(got: np.ndarray, want: np.ndarray) -> float:
    """The largest absolute difference; infinite if something is no number."""
    difference = float(np.abs(got.astype(np.float64) - want.astype(np.float64)).max())
    return difference if np.isfinite(difference) else float("inf")


def require(checks: list[Check]) -> None:
    """Refuse what is over its bound.

    Raises:
        ExportError: With the quantity and the bound.
    """
    for check in checks:
        if not check.holds:
            raise ExportError(
                f"what was written does not compute what the model does: {check.name} differ by "
                f"{check.difference:.2g}, more than {check.bound:.2g}; nothing is left of it"
            )


class _Ours(Runner):
    """A classifier, which takes pixels."""

    def __init__(self, classifier: Classifier):
        self._classifier = classifier

    def answer(self, images: np.ndarray) -> Answers:
        """See `Runner`."""
        return Answers(None, self._classifier.probabilities(images))


def compare_classifiers(
    found: Classifier, wanted: Reference, pixels: UInt8[np.ndarray, "images ..."]
) -> list[Check]:
    """`compare` for a classifier that was read back."""
    return compare(_Ours(found), wanted, pixels)


def timed(runner: Runner, images: np.ndarray) -> Timed:
    """What times a file on these images."""
    return lambda budget: runner.seconds(images, budget)


def timed_classifier(classifier: Classifier, pixels: UInt8[np.ndarray, "images ..."]) -> Timed:
    """What times a classifier on these pixels."""
    return timed(_Ours(classifier), pixels)


def time_each(runs: Mapping[str, Timed]) -> dict[str, float]:
    """Median seconds of each, in turn; the first repetition of a turn is left out."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            found[name] += run(BUDGET / _ROUNDS)[1:]
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def repeat(work: Callable[[], object], budget: float) -> list[float]:
    """Seconds of each repetition, for so many seconds in all and three times at least."""
    seconds: list[float] = []
    while len(seconds) < 3 or sum(seconds) < budget:
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds
