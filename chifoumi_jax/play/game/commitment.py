"""The machine commits to its hand before it sees the player's."""

import hashlib
import secrets
import threading
from collections import OrderedDict
from typing import NamedTuple

from chifoumi_jax.play.game.roles import Hand


class Committed(NamedTuple):
    """A hand that is chosen and not shown yet.

    Attributes:
        hand: The hand.
        nonce: Makes the commitment tell nothing of the hand; 32 hexadecimal digits.
    """

    hand: Hand
    nonce: str

    @property
    def commitment(self) -> str:
        """SHA-256 of `nonce:hand`, hexadecimal: shown first, and checked once both are known."""
        return hashlib.sha256(f"{self.nonce}:{self.hand}".encode()).hexdigest()


class Rounds:
    """Rounds that have begun; safe in threads."""

    def __init__(self, most: int):
        self._most = most
        self._open: OrderedDict[str, Committed] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, hand: Hand) -> tuple[str, str]:
        """Commit to a hand; gives the round's name and the commitment."""
        name, committed = secrets.token_hex(16), Committed(hand, secrets.token_hex(16))
        with self._lock:
            self._open[name] = committed
            if len(self._open) > self._most:
                self._open.popitem(last=False)
        return name, committed.commitment

    def reveal(self, name: str) -> Committed | None:
        """End a round; `None` if there is none of that name."""
        with self._lock:
            return self._open.pop(name, None)
