"""Ctrl-C during a training: the first one saves and stops, the second one ends the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class StopRequest:
    """Whether the user wants to stop.

    Attributes:
        asked: Set by the first Ctrl-C or SIGTERM.
        later: Whether that waits for the training to look; before, it interrupts at once. An
            interrupt that somebody's callback swallows is not lost: it was asked for.
    """

    def __init__(self) -> None:
        self.asked = False
        self.later = False


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """What the first Ctrl-C (or SIGTERM) sets; the second one ends the process at once."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def request(number: int, frame: object) -> None:
        stop.asked = True
        for each in signals:
            signal.signal(each, before[each])
        if not stop.later:
            raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number in signals:
            signal.signal(number, before[number])
