"""The report's photos: a run's worst mistakes and some correct predictions, with heat maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from chifoumi_jax.data.problems import ImageProblem
from chifoumi_jax.html import as_jpeg, image_uri
from chifoumi_jax.metrics import worst_mistakes
from chifoumi_jax.prediction.gradcam import has_feature_map
from chifoumi_jax.prediction.heatmap import heat_picture, hottest_region
from chifoumi_jax.reports.evaluated import EvaluatedRun
from chifoumi_jax.reports.metrics import answer

# Longer side of a picture in the report, in pixels.
MAX_SIDE = 320
_JPEG_QUALITY = 80
_MAX_MISTAKES, _MAX_CORRECT = 12, 24


@dataclasses.dataclass(frozen=True)
class GalleryPhoto:
    """A photo in the report.

    Attributes:
        answer: The run's answer; see `metrics.answer`.
        photo: The photo as a data URI; empty if photos are left out or the file no longer exists.
        heat: The photo with the predicted class's heat map, as a data URI; empty if there is none.
        hottest_region: Where the heat map is largest, in words.
        width: Width of the pictures, in pixels.
        height: Height of the pictures, in pixels.
    """

    answer: dict[str, Any]
    photo: str = ""
    heat: str = ""
    hottest_region: str = ""
    width: int = 0
    height: int = 0


def mistake_indices(evaluated: EvaluatedRun) -> list[int]:
    """Indices of the worst mistakes, at most 12."""
    return worst_mistakes(evaluated.labels, evaluated.probabilities)[:_MAX_MISTAKES].tolist()


def correct_indices(evaluated: EvaluatedRun) -> list[int]:
    """Indices of each class's most and least certain correct predictions, at most 24 in all."""
    certainty = evaluated.probabilities.max(axis=1)
    most_certain, least_certain = [], []
    for label in range(len(evaluated.classes)):
        indices = np.flatnonzero(evaluated.correct & (evaluated.labels == label))
        if len(indices):
            ascending = indices[np.argsort(certainty[indices], kind="stable")]
            most_certain.append(int(ascending[-1]))
            least_certain += [int(ascending[0])] if len(indices) > 1 else []
    chosen = (most_certain + least_certain)[:_MAX_CORRECT]
    return sorted(chosen, key=lambda index: (evaluated.labels[index], -certainty[index]))


def gallery(evaluated: EvaluatedRun, indices: Sequence[int], *, images: bool) -> list[GalleryPhoto]:
    """The photos at these indices; without pictures if `images` is false."""
    answers = [answer(evaluated, index) for index in indices]
    if not images or not indices:
        return [GalleryPhoto(one) for one in answers]
    heats: Sequence[np.ndarray | None] = [None] * len(indices)
    if has_feature_map(evaluated.classifier.recipe):
        pixels = evaluated.data.pixels[evaluated.split.rows[list(indices)]]
        heats = list(evaluated.classifier.heat(pixels, evaluated.predicted[list(indices)]))
    return [
        _gallery_photo(evaluated, index, one, heat)
        for index, one, heat in zip(indices, answers, heats, strict=True)
    ]


def _gallery_photo(
    evaluated: EvaluatedRun, index: int, answer: dict[str, Any], heat: np.ndarray | None
) -> GalleryPhoto:
    try:
        photo = evaluated.classifier.picture(evaluated.path(index), MAX_SIDE)
    except ImageProblem:
        # The file was readable during the scan, and was removed or changed since then.
        return GalleryPhoto(answer)
    if heat is None:
        return GalleryPhoto(answer, _data_uri(photo), "", "", *photo.size)
    overlay = heat_picture(photo, heat)
    return GalleryPhoto(
        answer, _data_uri(photo), _data_uri(overlay), hottest_region(heat), *photo.size
    )


def _data_uri(picture: Image.Image) -> str:
    return image_uri(as_jpeg(picture, _JPEG_QUALITY, optimize=True))
