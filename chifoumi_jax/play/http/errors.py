"""Refused requests: the JSON errors of the API."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse


class Refusal(Exception):  # noqa: N818 - it becomes a response
    """A request is refused.

    Attributes:
        status: The HTTP status.
        code: The kind of error, for programs.
        message: What is wrong and what was expected, in one sentence.
        headers: Extra headers of the response.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ):
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The JSON response."""
        content = {"error": {"code": self.code, "message": self.message}}
        return JSONResponse(content, self.status, self.headers)


def busy() -> Refusal:
    """The refusal if too many pictures are waiting already."""
    return Refusal(
        429, "busy", "too many pictures are waiting: retry in a second", {"Retry-After": "1"}
    )


async def handle_refusal(request: Request, refusal: Exception) -> JSONResponse:
    """Starlette's exception handler for `Refusal`."""
    assert isinstance(refusal, Refusal)
    return refusal.response()
