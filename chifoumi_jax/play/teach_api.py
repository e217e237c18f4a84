"""API requests of the Teach page: classes, their pictures, and training."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from chifoumi_jax.html import as_jpeg, image_uri
from chifoumi_jax.play.http.body import bad_field, read_object, read_picture, text_field
from chifoumi_jax.play.http.errors import Refusal
from chifoumi_jax.play.pictures import read_pixels, read_upright, shrink
from chifoumi_jax.play.service import Service
from chifoumi_jax.play.teach.classes import Frame, TaughtClass
from chifoumi_jax.play.teach.jobs import Job, transfer_problem

# Stored pictures: longest side in pixels, more than any recipe for webcams takes, and JPEG quality.
_LONGEST_SIDE, _QUALITY = 256, 92
_MIN_CLASSES, _MIN_FRAMES = 2, 5
_MAX_DIGITS = 6
# Pictures that a reloaded page gets for each class: as many as it shows.
_LATEST = 6


def teach_routes(service: Service) -> list[Route]:
    """The API's routes for teaching."""
    limits, classes, jobs = service.limits, service.classes, service.jobs
    read_json = partial(read_object, max_bytes=limits.json_bytes, seconds=limits.body_seconds)

    def state() -> JSONResponse:
        taught = service.models.taught
        return JSONResponse(
            {
                "classes": [
                    {"id": number, "name": found.name, "frames": len(found.frames)}
                    for number, found in classes.snapshot().items()
                ],
                "limits": {"classes": limits.classes, "frames": limits.frames},
                "least": {"classes": _MIN_CLASSES, "frames": _MIN_FRAMES},
                "noTransfer": transfer_problem(),
                "job": _job_as_json(jobs.current),
                "taught": taught and taught.as_json(),
            }
        )

    async def show(request: Request) -> JSONResponse:
        return state()

    async def add_class(request: Request) -> JSONResponse:
        number = classes.add_class(text_field(await read_json(request), "name"))
        return JSONResponse({"id": number}, 201)

    async def rename(request: Request) -> JSONResponse:
        classes.rename(_number(request), text_field(await read_json(request), "name"))
        return state()

    async def remove(request: Request) -> JSONResponse:
        classes.remove(_number(request))
        return state()

    async def clear(request: Request) -> JSONResponse:
        classes.clear(_number(request))
        return state()

    async def latest(request: Request) -> JSONResponse:
        frames = classes.frames(_number(request))[-_LATEST:]
        return JSONResponse({"pictures": [image_uri(frame.jpeg) for frame in frames]})

    async def add_frame(request: Request) -> JSONResponse:
        number, hold = _number(request), _hold(request)
        classes.require_room(number)
        with service.slots.acquire():
            content = await read_picture(request, limits.frame_bytes, limits.body_seconds)
            jpeg = await service.run(partial(_reencode, content, limits.frame_pixels))
        count = classes.add_frame(number, Frame(jpeg, hold))
        return JSONResponse({"frames": count}, 201)

    async def learn(request: Request) -> JSONResponse:
        value = await read_json(request)
        how = value.get("how")
        if how not in ("quick", "transfer", "cnn"):
            raise bad_field("how", "quick, transfer or cnn")
        if how != "cnn" and (problem := transfer_problem()) is not None:
            raise Refusal(409, "no-weights", problem)
        taught = list(classes.snapshot().values())
        _require_enough(taught)
        started = (
            jobs.start_quick(taught, limits.frame_pixels)
            if how == "quick"
            else jobs.start_full(taught, how)
        )
        if not started:
            raise Refusal(409, "learning", "a training is already running: wait, or stop it")
        return JSONResponse({"job": _job_as_json(jobs.current)}, 202)

    async def stop(request: Request) -> JSONResponse:
        await read_json(request)
        jobs.cancel()
        return state()

    async def frame(request: Request) -> JSONResponse:
        model = service.models.taught
        if model is None:
            raise Refusal(409, "not-taught", "no model has been taught yet")
        with service.slots.acquire():
            content = await read_picture(request, limits.frame_bytes, limits.body_seconds)
            pixels = partial(read_pixels, model.classifier.recipe, content, limits.frame_pixels)
            return JSONResponse((await service.predict(model.classifier, pixels)).as_json())

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


def _reencode(content: bytes, max_pixels: int) -> bytes:
    return as_jpeg(shrink(read_upright(content, max_pixels), _LONGEST_SIDE), _QUALITY)


def _number(request: Request) -> int:
    return _parse_number(
        request.path_params["number"], Refusal(404, "no-class", "there is no such class")
    )


def _hold(request: Request) -> int:
    expected = f"a number of at most {_MAX_DIGITS} digits"
    return _parse_number(request.query_params.get("hold", "0"), bad_field("hold", expected))


def _parse_number(value: str, refusal: Refusal) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS):
        raise refusal
    return int(value)


def _require_enough(classes: list[TaughtClass]) -> None:
    if len(classes) < _MIN_CLASSES:
        raise Refusal(409, "too-few", f"teach at least {_MIN_CLASSES} classes")
    for taught in classes:
        if len(taught.frames) < _MIN_FRAMES:
            message = f"{taught.name} needs at least {_MIN_FRAMES} pictures"
            raise Refusal(409, "too-few", message)


def _job_as_json(job: Job | None) -> dict[str, Any] | None:
    if job is None:
        return None
    found = dataclasses.asdict(job)
    return found | {"testAccuracy": found.pop("test_accuracy")}
