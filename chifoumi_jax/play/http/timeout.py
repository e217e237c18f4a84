"""Uvicorn's HTTP protocol with a timeout for request headers."""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from chifoumi_jax.play.http.errors import Refusal
from chifoumi_jax.play.http.guard import HEADERS


def protocol_with_header_timeout(seconds: float) -> type[asyncio.Protocol]:
    """Uvicorn's protocol; closes connections that have not sent their headers in time (slowloris).

    Uvicorn itself limits only the idle time after a response. It does not limit a connection that
    sends nothing at first, or one letter at a time. `body.py` limits the time of a request's body.
    """

    class HeaderTimeoutProtocol(H11Protocol):
        _timeout: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._start_timeout()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._start_timeout()
            else:
                self._cancel_timeout()

        def send_400_response(self, msg: str) -> None:
            """Answer malformed HTTP with the same JSON error and headers as other refusals."""
            refusal = Refusal(400, "bad-request", "the request must be valid HTTP")
            response = refusal.response()
            security = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            headers = [*response.raw_headers, *security, (b"Connection", b"close")]
            for event in (
                h11.Response(status_code=response.status_code, headers=headers),
                h11.Data(data=bytes(response.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
            self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._cancel_timeout()
            super().connection_lost(exc)

        def _start_timeout(self) -> None:
            if self._timeout is None:
                self._timeout = self.loop.call_later(seconds, self.transport.close)

        def _cancel_timeout(self) -> None:
            if self._timeout is not None:
                self._timeout.cancel()
                self._timeout = None

    return HeaderTimeoutProtocol
