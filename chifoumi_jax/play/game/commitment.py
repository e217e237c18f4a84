"""The machine commits to its hand before it sees the player's."""

import hashlib
import secrets
import threading
from collections import OrderedDict
from typing import NamedTuple

from chifoumi_jax.play.game.roles import Hand


class Committed(NamedTuple):
    """A hand that the machine has chosen and not shown yet.

    Attributes:
        hand: The hand.
        nonce: 32 random hexadecimal digits; they hide the hand, which the hash alone would reveal.
    """

    hand: Hand
    nonce: str

    @property
    def commitment(self) -> str:
        """Hexadecimal SHA-256 of `nonce:hand`; shown first, and checked once both are known."""
        return hashlib.sha256(f"{self.nonce}:{self.hand}".encode()).hexdigest()


class Rounds:
    """The open rounds, at most `max_open`; thread-safe."""

    def __init__(self, max_open: int):
        self._max_open = max_open
        self._open: OrderedDict[str, Committed] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, hand: Hand) -> tuple[str, str]:
        """Commit to a hand; returns the round's name and the commitment."""
        name, committed = secrets.token_hex(16), Committed(hand, secrets.token_hex(16))
        with self._lock:
            self._open[name] = committed
            if len(self._open) > self._max_open:
                self._open.popitem(last=False)
        return name, committed.commitment

    def reveal(self, name: str) -> Committed | None:
        """Close a round; returns `None` if no open round has that name."""
        with self._lock:
            return self._open.pop(name, None)
