"""Reading what a request brings, within limits."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import Request

from chifoumi_jax.play.http.errors import Refusal, busy

_PICTURES = "image/"
# What is too long is read on, and thrown away, up to that many times what is allowed: a browser
# that is cut off while it sends does not see the answer.
_DRAINED = 8


class Slots:
    """Places for requests that bring a picture: who finds none is told to come back.

    Attributes:
        free: How many there are now.
    """

    def __init__(self, number: int):
        self.free = number

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One of them; in the event loop's thread only.

        Raises:
            Refusal: If none is free.
        """
        if not self.free:
            raise busy()
        self.free -= 1
        try:
            yield
        finally:
            self.free += 1


async def read_picture(request: Request, most: int, seconds: float) -> bytes:
    """The bytes of a picture that a request brings, not looked at yet.

    Raises:
        Refusal: If they are no picture by their type, too many, or too slow.
    """
    if not _media_type(request).startswith(_PICTURES):
        raise Refusal(415, "not-an-image", "send a picture, with its type: image/jpeg, image/png …")
    content = await _read(request, most, seconds)
    if not content:
        raise Refusal(400, "empty", "the request has no body: send a picture")
    return content


async def read_object(request: Request, most: int, seconds: float) -> dict[str, Any]:
    """The JSON object that a request brings.

    Raises:
        Refusal: If it is none, too long, or too slow.
    """
    if _media_type(request) != "application/json":
        raise Refusal(415, "not-json", "send JSON, with its type: application/json")
    content = await _read(request, most, seconds)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise Refusal(400, "bad-json", "the body is no JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "bad-json", "the body must be a JSON object")
    return value


def text(value: dict[str, Any], name: str) -> str:
    """A field that must be text.

    Raises:
        Refusal: If it is not.
    """
    if not isinstance(found := value.get(name), str):
        raise bad_field(name, "text")
    return found


def bad_field(name: str, expected: str) -> Refusal:
    """A field of a JSON object is not what it should be."""
    return Refusal(400, "bad-field", f"the field {name} must be {expected}")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().casefold()


async def _read(request: Request, most: int, seconds: float) -> bytes:
    content, size = bytearray(), 0
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > _DRAINED * most:
        raise _too_large(most, {"Connection": "close"})
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > _DRAINED * most:
                    raise _too_large(most, {"Connection": "close"})
                if size <= most:
                    content += chunk
    except TimeoutError:
        raise Refusal(
            408, "too-slow", f"the body did not come within {seconds:g} s", {"Connection": "close"}
        ) from None
    if size > most:
        raise _too_large(most, {})
    return bytes(content)


def _too_large(most: int, headers: dict[str, str]) -> Refusal:
    return Refusal(413, "too-large", f"the body is over {most:,} bytes", headers)
