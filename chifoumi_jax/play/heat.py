"""What a model sees in a photo: its answer, the photo as shown, and where it looked."""

from __future__ import annotations

from chifoumi_jax.classifier import Classifier
from chifoumi_jax.play.pictures import as_jpeg, as_pixels, read_upright, shrunk
from chifoumi_jax.play.reading import Reading, read

# Of what the page shows, in pixels.
_SIDE = 640
_QUALITY = 85


def explained(
    classifier: Classifier, content: bytes, most: int
) -> tuple[Reading, bytes, bytes | None]:
    """Reading, photo and heat map of a photo, the two pictures as JPEG.

    There is no heat map of a network without convolutions.

    Raises:
        ImageProblem: If it is no picture, or has more than `most` pixels.
    """
    image = read_upright(content, most)
    pixels = as_pixels(classifier.recipe, image)[None]
    reading = read(classifier, classifier.probabilities(pixels)[0])
    shown = shrunk(image, _SIDE)
    return reading, as_jpeg(shown, _QUALITY), None
