"""HTTP as uvicorn speaks it, to clients that must not keep it waiting."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from chifoumi_jax.play.http.errors import Refusal
from chifoumi_jax.play.http.guard import HEADERS


def punctual(seconds: float) -> type[asyncio.Protocol]:
    """Uvicorn's protocol, which hangs up on who has not sent a request's headers in that time.

    It has a limit of its own for a connection that was answered and is silent since, and none for
    one that never asked, or asks a letter at a time. A request's body is `body.py`'s.
    """

    class Punctual(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect_headers()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._expect_headers()
            else:
                self._expect_nothing()

        def send_400_response(self, msg: str) -> None:
            """Refuse what is no request, as other requests are refused."""
            refusal = Refusal(400, "bad-request", "that is no HTTP request that can be answered")
            answer = refusal.response()
            guarded = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            headers = [*answer.raw_headers, *guarded, (b"Connection", b"close")]
            for event in (
                h11.Response(status_code=answer.status_code, headers=headers),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect_nothing()
            super().connection_lost(exc)

        def _expect_headers(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(seconds, self.transport.close)

        def _expect_nothing(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Punctual
