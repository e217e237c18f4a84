"""API request of the Photos page: a photo's label, probabilities and heat map."""

from functools import partial
from typing import NamedTuple

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from chifoumi_jax.data.decode import decode
from chifoumi_jax.html import as_jpeg, image_uri
from chifoumi_jax.play.http.body import read_picture
from chifoumi_jax.play.pictures import PICTURE_NAME
from chifoumi_jax.play.reading import Reading, apply_threshold
from chifoumi_jax.play.service import Service
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.gradcam import has_feature_map
from chifoumi_jax.prediction.heatmap import heat_picture

# The pictures that the page shows: longest side in pixels, and JPEG quality.
_LONGEST_SIDE, _QUALITY = 640, 85


class Explanation(NamedTuple):
    """A photo and a model's prediction for it.

    Attributes:
        reading: The prediction.
        picture: The photo as JPEG, oriented as the network takes it.
        heat: The same photo under the predicted class's heat map, as JPEG; `None` if the network
            has no feature map.
    """

    reading: Reading
    picture: bytes
    heat: bytes | None


def explain(classifier: Classifier, content: bytes, max_pixels: int) -> Explanation:
    """Classify a photo and draw its heat map.

    Raises:
        ImageProblem: If the content is not a picture, or has more than `max_pixels` pixels.
    """
    with decode(content, PICTURE_NAME, max_pixels=max_pixels) as image:
        pixels = classifier.pixels(image)[None]
        picture = classifier.picture(image, _LONGEST_SIDE)
    row = classifier.probabilities(pixels)[0]
    heat = None
    if has_feature_map(classifier.recipe):
        heat_map = classifier.heat(pixels, np.argmax(row, keepdims=True))[0]
        heat = as_jpeg(heat_picture(picture, heat_map), _QUALITY)
    return Explanation(apply_threshold(classifier, row), as_jpeg(picture, _QUALITY), heat)


def photo_routes(service: Service) -> list[Route]:
    """The API's routes for photos."""
    limits = service.limits

    async def photo(request: Request) -> JSONResponse:
        classifier = service.models.active.classifier
        with service.slots.acquire():
            content = await read_picture(request, limits.photo_bytes, limits.body_seconds)
            call = partial(explain, classifier, content, limits.photo_pixels)
            reading, picture, heat = await service.run(call)
        pictures = {
            "picture": image_uri(picture),
            "heat": None if heat is None else image_uri(heat),
        }
        return JSONResponse(reading.as_json() | pictures)

    return [Route("/api/photo", photo, methods=["POST"])]
