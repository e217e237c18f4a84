"""Requests of the page that teaches."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from chifoumi_jax.html import jpeg_uri
from chifoumi_jax.play.http.body import bad_field, read_object, read_picture, text
from chifoumi_jax.play.http.errors import Refusal
from chifoumi_jax.play.pictures import as_jpeg, read_pixels, read_upright, shrunk
from chifoumi_jax.play.service import Service
from chifoumi_jax.play.teach.classes import Frame, Taught
from chifoumi_jax.play.teach.jobs import Job, why_no_transfer

# Of a kept picture, in pixels and in JPEG's measure: more than any recipe for webcams takes.
_SIDE, _QUALITY = 256, 92
_LEAST_CLASSES, _LEAST_FRAMES = 2, 5
_MOST_DIGITS = 6
# Pictures that a class is known by after a page was loaded again: as many as the page shows.
_LATEST = 6


def teach_routes(service: Service) -> list[Route]:
    """The teaching part of the API."""
    limits, lesson, apprentice = service.limits, service.lesson, service.apprentice
    object_of = partial(read_object, most=limits.json_bytes, seconds=limits.body_seconds)

    def state() -> JSONResponse:
        taught = service.models.taught
        return JSONResponse(
            {
                "classes": [
                    {"id": number, "name": found.name, "frames": len(found.frames)}
                    for number, found in lesson.classes().items()
                ],
                "limits": {"classes": limits.classes, "frames": limits.frames},
                "least": {"classes": _LEAST_CLASSES, "frames": _LEAST_FRAMES},
                "noTransfer": why_no_transfer(),
                "job": _job(apprentice.job),
                "taught": taught and taught.as_json(),
            }
        )

    async def show(request: Request) -> JSONResponse:
        return state()

    async def add_class(request: Request) -> JSONResponse:
        number = lesson.add_class(text(await object_of(request), "name"))
        return JSONResponse({"id": number}, 201)

    async def rename(request: Request) -> JSONResponse:
        lesson.rename(_number(request), text(await object_of(request), "name"))
        return state()

    async def remove(request: Request) -> JSONResponse:
        lesson.remove(_number(request))
        return state()

    async def clear(request: Request) -> JSONResponse:
        lesson.clear(_number(request))
        return state()

    async def latest(request: Request) -> JSONResponse:
        frames = lesson.frames(_number(request))[-_LATEST:]
        return JSONResponse({"pictures": [jpeg_uri(frame.jpeg) for frame in frames]})

    async def add_frame(request: Request) -> JSONResponse:
        number, hold = _number(request), _hold(request)
        lesson.require_room(number)
        with service.slots.taken():
            content = await read_picture(request, limits.frame_bytes, limits.body_seconds)
            jpeg = await service.run(partial(_kept, content, limits.frame_pixels))
        count = lesson.add_frame(number, Frame(jpeg, hold))
        return JSONResponse({"frames": count}, 201)

    async def learn(request: Request) -> JSONResponse:
        value = await object_of(request)
        how = value.get("how")
        if how not in ("quick", "transfer", "cnn"):
            raise bad_field("how", "quick, transfer or cnn")
        if how != "cnn" and (why := why_no_transfer()) is not None:
            raise Refusal(409, "no-weights", why)
        taught = list(lesson.classes().values())
        _require_enough(taught)
        started = (
            apprentice.start_quick(taught, limits.frame_pixels)
            if how == "quick"
            else apprentice.start_full(taught, how)
        )
        if not started:
            raise Refusal(409, "learning", "a training goes on already: wait, or stop it")
        return JSONResponse({"job": _job(apprentice.job)}, 202)

    async def stop(request: Request) -> JSONResponse:
        await object_of(request)
        apprentice.cancel()
        return state()

    async def frame(request: Request) -> JSONResponse:
        model = service.models.taught
        if model is None:
            raise Refusal(409, "not-taught", "no model has been taught yet")
        with service.slots.taken():
            content = await read_picture(request, limits.frame_bytes, limits.body_seconds)
            pixels = partial(read_pixels, model.classifier.recipe, content, limits.frame_pixels)
            return JSONResponse((await service.ask(model.classifier, pixels)).as_json())

    one = "/api/teach/classes/{number}"
    return [
        Route("/api/teach", show, methods=["GET"]),
        Route("/api/teach/classes", add_class, methods=["POST"]),
        Route(one, rename, methods=["POST"]),
        Route(one, remove, methods=["DELETE"]),
        Route(f"{one}/frames", latest, methods=["GET"]),
        Route(f"{one}/frames", add_frame, methods=["POST"]),
        Route(f"{one}/frames", clear, methods=["DELETE"]),
        Route("/api/teach/learn", learn, methods=["POST"]),
        Route("/api/teach/stop", stop, methods=["POST"]),
        Route("/api/teach/frame", frame, methods=["POST"]),
    ]


def _kept(content: bytes, most: int) -> bytes:
    return as_jpeg(shrunk(read_upright(content, most), _SIDE), _QUALITY)


def _number(request: Request) -> int:
    return _digits(
        request.path_params["number"], Refusal(404, "no-class", "there is no such class")
    )


def _hold(request: Request) -> int:
    expected = f"a number of {_MOST_DIGITS} digits at most"
    return _digits(request.query_params.get("hold", "0"), bad_field("hold", expected))


def _digits(value: str, refusal: Refusal) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS):
        raise refusal
    return int(value)


def _require_enough(lesson: list[Taught]) -> None:
    if len(lesson) < _LEAST_CLASSES:
        raise Refusal(409, "too-few", f"teach {_LEAST_CLASSES} classes at least")
    for taught in lesson:
        if len(taught.frames) < _LEAST_FRAMES:
            message = f"{taught.name} needs {_LEAST_FRAMES} pictures at least"
            raise Refusal(409, "too-few", message)


def _job(job: Job | None) -> dict[str, Any] | None:
    if job is None:
        return None
    found = dataclasses.asdict(job)
    return found | {"testAccuracy": found.pop("test_accuracy")}
