"""Requests of the page that explains photos: labels, probabilities and a heat map."""

from functools import partial
from typing import NamedTuple

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from chifoumi_jax.data.decode import decode
from chifoumi_jax.html import jpeg_uri
from chifoumi_jax.play.http.body import read_picture
from chifoumi_jax.play.pictures import NAME, as_jpeg
from chifoumi_jax.play.reading import Reading, read
from chifoumi_jax.play.service import Service
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.gradcam import has_feature_map
from chifoumi_jax.prediction.heatmap import heat_picture

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


def photo_routes(service: Service) -> list[Route]:
    """The photos' part of the API."""
    limits = service.limits

    async def photo(request: Request) -> JSONResponse:
        classifier = service.models.active.classifier
        with service.slots.taken():
            content = await read_picture(request, limits.photo_bytes, limits.body_seconds)
            explain = partial(explained, classifier, content, limits.photo_pixels)
            reading, picture, heat = await service.run(explain)
        pictures = {"picture": jpeg_uri(picture), "heat": None if heat is None else jpeg_uri(heat)}
        return JSONResponse(reading.as_json() | pictures)

    return [Route("/api/photo", photo, methods=["POST"])]
