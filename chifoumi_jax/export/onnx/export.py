"""Export of a classifier to ONNX with the options `preprocess` and `int8`, and its comparison."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chifoumi_jax.export import verify
from chifoumi_jax.export.inputs import Inputs
from chifoumi_jax.export.network import describe
from chifoumi_jax.export.onnx.file import OnnxRunner, load_resizer, write
from chifoumi_jax.export.onnx.int8 import quantize
from chifoumi_jax.export.verify import OURS, Check, ExportResult
from chifoumi_jax.metrics import accuracy
from chifoumi_jax.prediction.classifier import Classifier

# Pictures that are resized both by Pillow and in the graph.
_PICTURES = 12
# In levels of 255. Pillow sums in fixed point, so the runtime may round to a neighbouring level.
_LEVELS_BOUND = 1
# Effect on a probability if about one value in a hundred is off by one level; measured: 3e-5.
_PICTURES_BOUND = 1e-2
# Share of labels that 8 bits may change: those with two almost equally probable classes.
_CHANGED_BOUND = 0.05
_BATCH_SIZE = 25
# Name in the report of the file that was quantised.
_FLOAT_NAME = "the same in float32"


def write_and_compare(
    classifier: Classifier,
    photos: Inputs,
    path: Path,
    name: str,
    *,
    preprocess: bool,
    int8: bool,
) -> ExportResult:
    """Write the file and compare it; with `int8` a float32 file is compared and then quantised.

    Raises:
        ExportError: If the file does not compute the same.
    """
    expected = verify.reference(classifier, photos.compared)
    to_input = _as_pictures if preprocess else lambda pixels: verify.scaled(classifier, pixels)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        float_path = Path(folder) / "model.onnx" if int8 else path
        write(describe(classifier), float_path, classifier.recipe if preprocess else None)
        runner = OnnxRunner(float_path)
        checks = verify.compare(runner, expected, to_input(photos.compared))
        if preprocess:
            checks += _compare_pictures(classifier, photos, float_path)
        image = to_input(photos.compared[:1])
        if not int8:
            return ExportResult(checks, {name: verify.timer(runner, image)})
        quantize(float_path, path, list(to_input(photos.ranges)))
        quantised = OnnxRunner(path)
        check, accuracies = _compare_labels(classifier, photos, quantised, to_input, name)
        return ExportResult(
            [*checks, check],
            {
                _FLOAT_NAME: verify.timer(runner, image),
                name: verify.timer(quantised, image),
            },
            accuracies,
            {_FLOAT_NAME: float_path.stat().st_size},
        )


def _as_pictures(pixels: np.ndarray) -> np.ndarray:
    """Pictures of the network's own size, so that the graph resizes nothing; gray becomes RGB."""
    return pixels if pixels.ndim == 4 else np.stack([pixels] * 3, axis=-1)


def _compare_pictures(classifier: Classifier, photos: Inputs, path: Path) -> list[Check]:
    """Differences between the graph's resize and Pillow's, and between their probabilities."""
    resize, runner = load_resizer(path), OnnxRunner(path)
    levels = share = difference = 0.0
    for index in range(min(_PICTURES, len(photos.pixels))):
        picture = photos.picture(index)
        want, got = classifier.pixels(picture), resize(picture)
        distances = np.abs(got.astype(int) - want.astype(int))
        levels = max(levels, float(distances.max()))
        share = max(share, float(np.mean(distances > 0)))
        expected = classifier.predict(picture).probabilities
        probabilities = runner.predict(picture[None]).probabilities
        difference = max(difference, verify.max_difference(probabilities, expected))
    checks = [
        Check(f"resized pixels, in 255ths ({share:.2%} of them differ)", levels, _LEVELS_BOUND),
        Check("probabilities of pictures in their own size", difference, _PICTURES_BOUND),
    ]
    verify.require_within_bounds(checks)
    return checks


def _compare_labels(
    classifier: Classifier,
    photos: Inputs,
    quantised: OnnxRunner,
    to_input: Callable[[np.ndarray], np.ndarray],
    name: str,
) -> tuple[Check, dict[str, float]]:
    """The share of labels that 8 bits change, and both accuracies if the labels are known."""
    starts = range(0, len(photos.pixels), _BATCH_SIZE)
    batches = [photos.pixels[start : start + _BATCH_SIZE] for start in starts]
    ours = np.concatenate([classifier.probabilities(pixels) for pixels in batches])
    theirs = np.concatenate(
        [quantised.predict(to_input(pixels)).probabilities for pixels in batches]
    )
    changed = float(np.mean(ours.argmax(axis=1) != theirs.argmax(axis=1)))
    check = Check(
        f"share of the labels of {len(ours)} photos that 8 bits change", changed, _CHANGED_BOUND
    )
    verify.require_within_bounds([check])
    if photos.labels is None:
        return check, {}
    probabilities = {OURS: ours, name: theirs}
    return check, {key: accuracy(photos.labels, rows) for key, rows in probabilities.items()}
