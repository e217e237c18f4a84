"""What a model sees in a photo: its answer, the photo as shown, and where it looked."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from chifoumi_jax.classifier import Classifier
from chifoumi_jax.data.decode import decode
from chifoumi_jax.gradcam import has_feature_map
from chifoumi_jax.heat_picture import heat_picture
from chifoumi_jax.play.pictures import NAME, as_jpeg
from chifoumi_jax.play.reading import Reading, read

# Of what the page shows, in pixels and in JPEG's measure.
_SIDE, _QUALITY = 640, 85


class Explained(NamedTuple):
    """A photo and what a model makes of it.

    Attributes:
        reading: The answer.
        picture: The photo, turned as the network takes it, as JPEG.
        heat: The same under the heat map of the answer; `None` of a network that has none.
    """

    reading: Reading
    picture: bytes
    heat: bytes | None


def explained(classifier: Classifier, content: bytes, most: int) -> Explained:
    """A photo, explained.

    Raises:
        ImageProblem: If it is no picture, or has more than `most` pixels.
    """
    with decode(content, NAME, max_pixels=most) as image:
        pixels = classifier.pixels(image)[None]
        picture = classifier.picture(image, _SIDE)
    row = classifier.probabilities(pixels)[0]
    heat = None
    if has_feature_map(classifier.recipe):
        places = classifier.heat(pixels, np.argmax(row, keepdims=True))[0]
        heat = as_jpeg(heat_picture(picture, places), _QUALITY)
    return Explained(read(classifier, row), as_jpeg(picture, _QUALITY), heat)
