"""Reads request bodies within limits of size and time."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import Request

from chifoumi_jax.play.http.errors import Refusal, busy

_PICTURE_TYPES = "image/"
# A body that is too large is still read and discarded, up to this multiple of the limit, because a
# browser that is disconnected while it sends does not see the response.
_DRAIN_FACTOR = 8


class Slots:
    """Slots for concurrent requests that carry a picture; without a free slot they get a 429.

    Attributes:
        free: Number of free slots.
    """

    def __init__(self, number: int):
        self.free = number

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Hold one slot; only for the event loop's thread.

        Raises:
            Refusal: If no slot is free.
        """
        if not self.free:
            raise busy()
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1


async def read_picture(request: Request, max_bytes: int, seconds: float) -> bytes:
    """The body of a request that carries a picture, not decoded yet.

    Args:
        request: The request.
        max_bytes: Largest accepted body, in bytes.
        seconds: Time in which the body must arrive.

    Raises:
        Refusal: If the media type is not a picture's, or the body is empty, too large or too slow.
    """
    if not _media_type(request).startswith(_PICTURE_TYPES):
        raise Refusal(
            415, "not-an-image", "send a picture, with its media type: image/jpeg, image/png …"
        )
    content = await _read(request, max_bytes, seconds)
    if not content:
        raise Refusal(400, "empty", "the request has no body: send a picture")
    return content


async def read_object(request: Request, max_bytes: int, seconds: float) -> dict[str, Any]:
    """The JSON object in a request's body.

    Args:
        request: The request.
        max_bytes: Largest accepted body, in bytes.
        seconds: Time in which the body must arrive.

    Raises:
        Refusal: If the body is not a JSON object, or is too large or too slow.
    """
    if _media_type(request) != "application/json":
        raise Refusal(415, "not-json", "send JSON, with its media type: application/json")
    content = await _read(request, max_bytes, seconds)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise Refusal(400, "bad-json", "the body must be valid JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "bad-json", "the body must be a JSON object")
    return value


def text_field(value: dict[str, Any], name: str) -> str:
    """The value of a JSON object's text field.

    Raises:
        Refusal: If the field is missing or not text.
    """
    if not isinstance(found := value.get(name), str):
        raise bad_field(name, "text")
    return found


def bad_field(name: str, expected: str) -> Refusal:
    """The refusal if a field of a JSON object has a wrong value."""
    return Refusal(400, "bad-field", f"the field {name} must be {expected}")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().casefold()


async def _read(request: Request, max_bytes: int, seconds: float) -> bytes:
    content, size = bytearray(), 0
    content_length = request.headers.get("content-length", "")
    if content_length.isdecimal() and int(content_length) > _DRAIN_FACTOR * max_bytes:
        raise _too_large(max_bytes, {"Connection": "close"})
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > _DRAIN_FACTOR * max_bytes:
                    raise _too_large(max_bytes, {"Connection": "close"})
                if size <= max_bytes:
                    content += chunk
    except TimeoutError:
        raise Refusal(
            408,
            "too-slow",
            f"the body did not arrive within {seconds:g} s",
            {"Connection": "close"},
        ) from None
    if size > max_bytes:
        raise _too_large(max_bytes, {})
    return bytes(content)


def _too_large(max_bytes: int, headers: dict[str, str]) -> Refusal:
    return Refusal(413, "too-large", f"the body must have at most {max_bytes:,} bytes", headers)
