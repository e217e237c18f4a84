"""The classes that are being taught and their pictures, in memory."""

import re
import threading
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

from chifoumi_jax.data.folder.layout import SPLIT_NAMES
from chifoumi_jax.play.http.errors import Refusal
from chifoumi_jax.play.http.limits import Limits

# A name becomes that of a folder.
_NAME = re.compile(r"[^\W_](?:[\w '’-]{0,38}[\w’])?")


class Frame(NamedTuple):
    """A picture of a class.

    Attributes:
        jpeg: Made anew from the pixels: nothing of what was sent is left.
        hold: Which press of the button it came from.
    """

    jpeg: bytes
    hold: int


class Taught(NamedTuple):
    """What is known of a class."""

    name: str
    frames: tuple[Frame, ...]


class Lesson:
    """Classes by number, in order; safe in threads. Methods raise `Refusal`."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._lock = threading.Lock()
        self._classes: dict[int, Taught] = {}
        self._next = 1

    def classes(self) -> Mapping[int, Taught]:
        """All of them, as they are now."""
        with self._lock:
            return dict(self._classes)

    def add_class(self, name: str) -> int:
        """A new class without pictures; gives its number."""
        with self._lock:
            if len(self._classes) >= self._limits.classes:
                raise Refusal(409, "too-many", f"there are {self._limits.classes} classes already")
            name = self._checked(name, None)
            number, self._next = self._next, self._next + 1
            self._classes[number] = Taught(name, ())
            return number

    def rename(self, number: int, name: str) -> None:
        """Give a class another name."""
        with self._lock:
            taught = self._find(number)
            self._classes[number] = taught._replace(name=self._checked(name, number))

    def remove(self, number: int) -> None:
        """Forget a class and its pictures."""
        with self._lock:
            self._find(number)
            del self._classes[number]

    def clear(self, number: int) -> None:
        """Forget a class's pictures."""
        with self._lock:
            self._classes[number] = self._find(number)._replace(frames=())

    def require_room(self, number: int) -> None:
        """Make sure that a class takes another picture."""
        with self._lock:
            if len(self._find(number).frames) >= self._limits.frames:
                raise _full(self._limits.frames)

    def add_frame(self, number: int, frame: Frame) -> int:
        """A class's next picture; gives how many it has."""
        with self._lock:
            taught = self._find(number)
            if len(taught.frames) >= self._limits.frames:
                raise _full(self._limits.frames)
            self._classes[number] = taught._replace(frames=(*taught.frames, frame))
            return len(taught.frames) + 1

    def frames(self, number: int) -> tuple[Frame, ...]:
        """A class's pictures, the oldest first."""
        with self._lock:
            return self._find(number).frames

    def _find(self, number: int) -> Taught:
        if number not in self._classes:
            raise Refusal(404, "no-class", "there is no such class")
        return self._classes[number]

    def _checked(self, name: str, number: int | None) -> str:
        name = unicodedata.normalize("NFC", name).strip()
        if not _NAME.fullmatch(name) or name.casefold() in SPLIT_NAMES:
            raise Refusal(
                400,
                "bad-name",
                "a class needs a name of 40 letters, digits, spaces or hyphens at most, and not "
                "that of a split such as train or test",
            )
        others = (taught.name for other, taught in self._classes.items() if other != number)
        if any(name.casefold() == other.casefold() for other in others):
            raise Refusal(409, "name-taken", "another class has that name")
        return name


def _full(most: int) -> Refusal:
    return Refusal(409, "too-many", f"the class has {most} pictures already")
