"""The classes that are being taught, with their pictures, in memory."""

import re
import threading
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

from chifoumi_jax.data.folder.layout import SPLIT_NAMES
from chifoumi_jax.play.http.errors import Refusal
from chifoumi_jax.play.http.limits import Limits

# Restricted, because a class's name becomes a folder's name.
_NAME = re.compile(r"[^\W_](?:[\w '’-]{0,38}[\w’])?")


class Frame(NamedTuple):
    """A picture of a class.

    Attributes:
        jpeg: A new JPEG of the pixels; it contains nothing else of what the client sent.
        hold: Number of the button press that recorded it.
    """

    jpeg: bytes
    hold: int


class TaughtClass(NamedTuple):
    """A class's name and its pictures, the oldest first."""

    name: str
    frames: tuple[Frame, ...]


class ClassStore:
    """The taught classes by number, in order of creation; thread-safe. Methods raise `Refusal`."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._lock = threading.Lock()
        self._classes: dict[int, TaughtClass] = {}
        self._next = 1

    def snapshot(self) -> Mapping[int, TaughtClass]:
        """A copy of all classes at this moment."""
        with self._lock:
            return dict(self._classes)

    def add_class(self, name: str) -> int:
        """Add a class without pictures; returns its number."""
        with self._lock:
            if len(self._classes) >= self._limits.classes:
                raise Refusal(409, "too-many", f"there are {self._limits.classes} classes already")
            name = self._checked(name, None)
            number, self._next = self._next, self._next + 1
            self._classes[number] = TaughtClass(name, ())
            return number

    def rename(self, number: int, name: str) -> None:
        """Rename a class."""
        with self._lock:
            taught = self._find(number)
            self._classes[number] = taught._replace(name=self._checked(name, number))

    def remove(self, number: int) -> None:
        """Remove a class and its pictures."""
        with self._lock:
            self._find(number)
            del self._classes[number]

    def clear(self, number: int) -> None:
        """Remove a class's pictures."""
        with self._lock:
            self._classes[number] = self._find(number)._replace(frames=())

    def require_room(self, number: int) -> None:
        """Check that a class can take another picture."""
        with self._lock:
            if len(self._find(number).frames) >= self._limits.frames:
                raise _full(self._limits.frames)

    def add_frame(self, number: int, frame: Frame) -> int:
        """Add a picture to a class; returns how many pictures the class has now."""
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

    def _find(self, number: int) -> TaughtClass:
        if number not in self._classes:
            raise Refusal(404, "no-class", "there is no such class")
        return self._classes[number]

    def _checked(self, name: str, number: int | None) -> str:
        name = unicodedata.normalize("NFC", name).strip()
        if not _NAME.fullmatch(name) or name.casefold() in SPLIT_NAMES:
            raise Refusal(
                400,
                "bad-name",
                "a class's name must have at most 40 letters, digits, spaces or hyphens, and must "
                "not be the name of a split such as train or test",
            )
        others = (taught.name for other, taught in self._classes.items() if other != number)
        if any(name.casefold() == other.casefold() for other in others):
            raise Refusal(409, "name-taken", "another class has that name")
        return name


def _full(limit: int) -> Refusal:
    return Refusal(409, "too-many", f"the class has {limit} pictures already")
