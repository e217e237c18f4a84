"""Ctrl-C during a training: the first saves and stops, the second ends the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class StopRequest:
    """Whether the user wants to stop.

    Attributes:
        requested: Set by the first Ctrl-C or SIGTERM. It stays set even if a callback swallows the
            `KeyboardInterrupt`, so that the request is not lost.
        deferred: Whether the training checks `requested` itself. If not, the first signal also
            raises `KeyboardInterrupt` at once.
    """

    def __init__(self) -> None:
        self.requested = False
        self.deferred = False


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Yield a request that the first Ctrl-C (or SIGTERM) sets; the second ends the process."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.getsignal(number) for number in signals}

    def request(number: int, frame: object) -> None:
        stop.requested = True
        for each in signals:
            signal.signal(each, previous[each])
        if not stop.deferred:
            raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number in signals:
            signal.signal(number, previous[number])
