"""An ONNX export from a classifier to a file that was compared, with its two options."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chifoumi_jax.export import verify
from chifoumi_jax.export.inputs import Inputs
from chifoumi_jax.export.network import describe
from chifoumi_jax.export.onnx.file import OnnxRunner, resized, write
from chifoumi_jax.export.onnx.int8 import quantize
from chifoumi_jax.export.verify import OURS, Check, Made
from chifoumi_jax.metrics import accuracy
from chifoumi_jax.prediction.classifier import Classifier

# Pictures of their own size, as many as are resized by Pillow and in the graph.
_PICTURES = 12
# Pillow's fixed-point sums and the runtime's may round to neighbours.
_LEVELS_BOUND = 1
# What one level in some hundredth of the values may do to a probability; measured: 3e-5.
_PICTURES_BOUND = 1e-2
# Labels that 8 bits may change: those that hung on little.
_CHANGED_BOUND = 0.05
_BATCH = 25


def make(
    classifier: Classifier,
    photos: Inputs,
    path: Path,
    name: str,
    *,
    preprocess: bool,
    int8: bool,
) -> Made:
    """Write the file and compare it; with `int8` first the float one, which is then quantised.

    Raises:
        ExportError: If it does not compute the same.
    """
    wanted = verify.reference(classifier, photos.compared)
    given = _pictures_of if preprocess else lambda pixels: verify.scaled(classifier, pixels)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        plain = Path(folder) / "model.onnx" if int8 else path
        write(describe(classifier), plain, classifier.recipe if preprocess else None)
        runner = OnnxRunner(plain)
        checks = verify.compare(runner, wanted, given(photos.compared))
        if preprocess:
            checks += _compare_pictures(classifier, photos, plain)
        one = given(photos.compared[:1])
        if not int8:
            return Made(checks, {name: verify.timed(runner, one)})
        quantize(plain, path, list(given(photos.ranges)))
        quantised = OnnxRunner(path)
        check, accuracies = _compare_labels(classifier, photos, quantised, given, name)
        return Made(
            [*checks, check],
            {"the same in float32": verify.timed(runner, one), name: verify.timed(quantised, one)},
            accuracies,
            {"the same in float32": plain.stat().st_size},
        )


def _pictures_of(pixels: np.ndarray) -> np.ndarray:
    """Pictures whose pixels these are: of that size, so that nothing is resized; gray as RGB."""
    return pixels if pixels.ndim == 4 else np.stack([pixels] * 3, axis=-1)


def _compare_pictures(classifier: Classifier, photos: Inputs, path: Path) -> list[Check]:
    """How far the graph's resizing is from Pillow's, and what the probabilities make of it."""
    pixels_of, runner = resized(path), OnnxRunner(path)
    levels = share = difference = 0.0
    for place in range(min(_PICTURES, len(photos.pixels))):
        picture = photos.picture(place)
        want, got = classifier.pixels(picture), pixels_of(picture)
        apart = np.abs(got.astype(int) - want.astype(int))
        levels = max(levels, float(apart.max()))
        share = max(share, float(np.mean(apart > 0)))
        probabilities = classifier.predict(picture).probabilities
        found = runner.answer(picture[None]).probabilities
        difference = max(difference, verify.distance(found, probabilities))
    checks = [
        Check(f"resized pixels, in 255ths ({share:.2%} of them are off)", levels, _LEVELS_BOUND),
        Check("probabilities of whole pictures", difference, _PICTURES_BOUND),
    ]
    verify.require(checks)
    return checks


def _compare_labels(
    classifier: Classifier,
    photos: Inputs,
    quantised: OnnxRunner,
    given: Callable[[np.ndarray], np.ndarray],
    name: str,
) -> tuple[Check, dict[str, float]]:
    """The share of labels that 8 bits change, and both accuracies where labels are known."""
    places = range(0, len(photos.pixels), _BATCH)
    batches = [photos.pixels[start : start + _BATCH] for start in places]
    ours = np.concatenate([classifier.probabilities(pixels) for pixels in batches])
    theirs = np.concatenate([quantised.answer(given(pixels)).probabilities for pixels in batches])
    changed = float(np.mean(ours.argmax(axis=1) != theirs.argmax(axis=1)))
    check = Check(
        f"labels of {len(ours)} photos, the share that 8 bits change", changed, _CHANGED_BOUND
    )
    verify.require([check])
    if photos.labels is None:
        return check, {}
    rows = {OURS: ours, name: theirs}
    return check, {who: accuracy(photos.labels, row) for who, row in rows.items()}
