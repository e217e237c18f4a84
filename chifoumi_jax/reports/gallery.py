"""Photos that show what a run gets wrong and right, with where it looked, to stand in a page."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from chifoumi_jax.data.problems import ImageProblem
from chifoumi_jax.html import jpeg_uri
from chifoumi_jax.metrics import worst_mistakes
from chifoumi_jax.prediction.gradcam import has_feature_map
from chifoumi_jax.prediction.heatmap import heat_picture, warmest
from chifoumi_jax.reports.evaluated import Judged
from chifoumi_jax.reports.metrics import answer

LONGEST = 320
_QUALITY = 80
_WRONG, _RIGHT = 12, 24


@dataclasses.dataclass(frozen=True)
class Shown:
    """A photo in the page.

    Attributes:
        answer: What the run says of it; see `measures.answer`.
        photo: Its picture as a data URI; empty if it is left out or its file is gone.
        heat: Likewise with the heat map of the predicted class; empty where there is none.
        warmest: Where that is greatest, in words.
        width: Of the pictures, in pixels.
        height: Likewise.
    """

    answer: dict[str, Any]
    photo: str = ""
    heat: str = ""
    warmest: str = ""
    width: int = 0
    height: int = 0


def wrong_places(judged: Judged) -> list[int]:
    """The worst mistakes, 12 at most."""
    return worst_mistakes(judged.labels, judged.probabilities)[:_WRONG].tolist()


def right_places(judged: Judged) -> list[int]:
    """Of each class the right answer that is surest and the one that is least so, 24 at most."""
    given = judged.probabilities.max(axis=1)
    surest, doubtful = [], []
    for label in range(len(judged.classes)):
        places = np.flatnonzero(judged.right & (judged.labels == label))
        if len(places):
            rising = places[np.argsort(given[places], kind="stable")]
            surest.append(int(rising[-1]))
            doubtful += [int(rising[0])] if len(places) > 1 else []
    chosen = (surest + doubtful)[:_RIGHT]
    return sorted(chosen, key=lambda place: (judged.labels[place], -given[place]))


def show(judged: Judged, places: Sequence[int], *, images: bool) -> list[Shown]:
    """The photos at these places; without their pictures if `images` is false."""
    answers = [answer(judged, place) for place in places]
    if not images or not places:
        return [Shown(one) for one in answers]
    heats: Sequence[np.ndarray | None] = [None] * len(places)
    if has_feature_map(judged.classifier.recipe):
        pixels = judged.data.pixels[judged.split.rows[list(places)]]
        heats = list(judged.classifier.heat(pixels, judged.predicted[list(places)]))
    return [
        _shown(judged, place, one, heat)
        for place, one, heat in zip(places, answers, heats, strict=True)
    ]


def _shown(judged: Judged, place: int, answer: dict[str, Any], heat: np.ndarray | None) -> Shown:
    try:
        photo = judged.classifier.picture(judged.path(place), LONGEST)
    except ImageProblem:
        # It was good when the folder was scanned; somebody has removed or changed it since.
        return Shown(answer)
    if heat is None:
        return Shown(answer, _data_uri(photo), "", "", *photo.size)
    over = heat_picture(photo, heat)
    return Shown(answer, _data_uri(photo), _data_uri(over), warmest(heat), *photo.size)


def _data_uri(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=_QUALITY, optimize=True)
    return jpeg_uri(file.getvalue())
