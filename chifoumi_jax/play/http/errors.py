"""A request that is not answered as asked, and why: one JSON error for each kind."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse


class Refusal(Exception):  # noqa: N818 - it is an answer
    """Says no to a request.

    Attributes:
        status: The HTTP status.
        code: What is wrong, for programs.
        message: What is wrong and what would be right, one sentence.
        headers: That the status asks for.
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
        """The answer."""
        content = {"error": {"code": self.code, "message": self.message}}
        return JSONResponse(content, self.status, self.headers)


def busy() -> Refusal:
    """Too many pictures wait already."""
    return Refusal(
        429, "busy", "too many pictures wait: ask again in a second", {"Retry-After": "1"}
    )


async def refuse(request: Request, refusal: Exception) -> JSONResponse:
    """Starlette's handler of `Refusal`."""
    assert isinstance(refusal, Refusal)
    return refusal.response()
