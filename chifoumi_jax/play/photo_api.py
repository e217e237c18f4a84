"""Requests of the page that explains photos: labels, probabilities and a heat map."""

from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from chifoumi_jax.play.body import read_picture
from chifoumi_jax.play.heat import explained
from chifoumi_jax.play.pictures import data_url
from chifoumi_jax.play.service import Service


def photo_routes(service: Service) -> list[Route]:
    """The photos' part of the API."""
    limits = service.limits

    async def photo(request: Request) -> JSONResponse:
        classifier = service.models.active.classifier
        with service.slots.taken():
            content = await read_picture(request, limits.photo_bytes, limits.body_seconds)
            explain = partial(explained, classifier, content, limits.photo_pixels)
            reading, picture, heat = await service.run(explain)
        pictures = {"picture": data_url(picture), "heat": None if heat is None else data_url(heat)}
        return JSONResponse(reading.as_json() | pictures)

    return [Route("/api/photo", photo, methods=["POST"])]
