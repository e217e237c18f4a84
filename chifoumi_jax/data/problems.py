"""Problems of a folder of photos: their kinds, their remedies and how they are reported."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from chifoumi_jax.errors import UserError
from chifoumi_jax.text import printable

# Number of paths that a report names for each kind of problem; the count covers the others.
EXAMPLES = 3


class ProblemKind(StrEnum):
    """A kind of problem; the value is its machine-readable name (JSON, tests)."""

    UNREADABLE = "unreadable"
    SPECIAL_FILE = "special-file"
    BAD_LINK = "bad-link"
    UNKNOWN_EXTENSION = "unknown-extension"
    EMPTY_FILE = "empty-file"
    NOT_AN_IMAGE = "not-an-image"
    NO_DECODER = "no-decoder"
    DAMAGED = "damaged"
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"
    OUTSIDE_CLASS = "outside-class"
    EMPTY_CLASS = "empty-class"
    CLASS_NOT_IN_TRAIN = "class-not-in-train"
    UNKNOWN_CLASS = "unknown-class"
    NO_SESSION = "no-session"
    CLASS_MISSING = "class-missing"
    SIMILAR_CLASSES = "similar-classes"
    LEAKAGE = "leakage"
    LABEL_CONFLICT = "label-conflict"
    SESSION_LEAKAGE = "session-leakage"
    SESSION_UNCHECKED = "session-unchecked"
    UNUSED_ROW = "unused-row"
    DUPLICATE = "duplicate"
    HIDDEN = "hidden"


Effect = Literal["left out", "kept", "note"]


class Meaning(NamedTuple):
    """Title of a kind of problem, what happens to the files, and the remedy."""

    title: str
    effect: Effect
    remedy: str


MEANINGS: dict[ProblemKind, Meaning] = {
    ProblemKind.UNREADABLE: Meaning(
        "unreadable file or folder", "left out", "check the path, its permissions and the disk"
    ),
    ProblemKind.SPECIAL_FILE: Meaning(
        "pipe, socket or device", "left out", "move it out of the photos' folder"
    ),
    ProblemKind.BAD_LINK: Meaning(
        "link that is not followed",
        "left out",
        "replace it with the photos themselves, or with links to single files",
    ),
    ProblemKind.UNKNOWN_EXTENSION: Meaning(
        "file without a picture's extension",
        "left out",
        "move it out of the class folder, or give a picture its extension",
    ),
    ProblemKind.EMPTY_FILE: Meaning(
        "file of zero bytes", "left out", "copy it again from its source"
    ),
    ProblemKind.NOT_AN_IMAGE: Meaning(
        "file that is not a picture", "left out", "remove it, or save it as JPEG or PNG"
    ),
    ProblemKind.NO_DECODER: Meaning(
        "picture in a format that this installation cannot read",
        "left out",
        "for HEIC: pip install pillow-heif; for AVIF: pip install --upgrade pillow; "
        "or save it as JPEG",
    ),
    ProblemKind.DAMAGED: Meaning(
        "truncated or corrupt picture", "left out", "copy it again from its source"
    ),
    ProblemKind.TOO_LARGE: Meaning("picture over the size limits", "left out", "save it smaller"),
    ProblemKind.UNSUPPORTED: Meaning(
        "picture with unusual colours", "left out", "save it as RGB or grayscale"
    ),
    ProblemKind.OUTSIDE_CLASS: Meaning(
        "picture outside of the class folders", "left out", "move it into its class's folder"
    ),
    ProblemKind.EMPTY_CLASS: Meaning(
        "class folder without a good picture", "left out", "add pictures, or remove the folder"
    ),
    ProblemKind.CLASS_NOT_IN_TRAIN: Meaning(
        "class that has no training picture",
        "left out",
        "add pictures of it to train, or correct the folder's name",
    ),
    ProblemKind.UNKNOWN_CLASS: Meaning(
        "class that the model was not trained on",
        "left out",
        "give the folder the name of one of the model's classes",
    ),
    ProblemKind.NO_SESSION: Meaning(
        "picture that the groups file does not name", "left out", "add a row for it"
    ),
    ProblemKind.CLASS_MISSING: Meaning(
        "class without a picture to test or validate on",
        "kept",
        "add pictures of it, or its accuracy stays unknown",
    ),
    ProblemKind.SIMILAR_CLASSES: Meaning(
        "class names that differ only in upper and lower case",
        "kept",
        "merge the folders, or give them other names",
    ),
    ProblemKind.LEAKAGE: Meaning(
        "same picture in two splits (leakage: accuracy on it is not a test)",
        "kept",
        "remove one of the copies",
    ),
    ProblemKind.LABEL_CONFLICT: Meaning(
        "same picture in two classes", "kept", "remove the copy in the wrong class"
    ),
    ProblemKind.SESSION_LEAKAGE: Meaning(
        "session with pictures in two splits (leakage)",
        "kept",
        "move its pictures to one split, or let the program split",
    ),
    ProblemKind.SESSION_UNCHECKED: Meaning(
        "picture that the groups file does not name", "kept", "add a row for it"
    ),
    ProblemKind.UNUSED_ROW: Meaning(
        "row of the groups file that names no picture", "kept", "correct the row's path"
    ),
    ProblemKind.DUPLICATE: Meaning(
        "same picture twice in one class, kept",
        "note",
        "remove the copies if they are not intended",
    ),
    ProblemKind.HIDDEN: Meaning("hidden file or folder, ignored", "note", "nothing to do"),
}


@dataclass(frozen=True)
class Problem:
    """One problem of a folder.

    Attributes:
        kind: ProblemKind of the problem.
        paths: The files or folders concerned, relative to the scanned folder.
        detail: Details of what was found, one line; may be empty.
    """

    kind: ProblemKind
    paths: tuple[str, ...]
    detail: str = ""

    @property
    def effect(self) -> Effect:
        """Whether the files were left out or kept, or whether this is only a note."""
        return MEANINGS[self.kind].effect

    @property
    def remedy(self) -> str:
        """How the user can correct it."""
        return MEANINGS[self.kind].remedy


class ImageProblem(ValueError):  # noqa: N818 - it becomes a `Problem` of the scan
    """An image file that is refused.

    Attributes:
        kind: The reason.
        path: The file.
        detail: Details of what was found.
    """

    def __init__(self, kind: ProblemKind, path: str, detail: str):
        self.kind = kind
        self.path = path
        self.detail = printable(detail)
        super().__init__(f"{printable(path)}: {self.detail} ({MEANINGS[kind].remedy})")


class DataError(UserError, ValueError):
    """A folder, a file list or a groups file that cannot be used: one sentence for the user.

    Attributes:
        problems: The problems that the scan had found before the error.
    """

    def __init__(self, message: str, problems: Iterable[Problem] = ()):
        self.problems = tuple(problems)
        super().__init__(message, describe(self.problems))


def describe(problems: Sequence[Problem]) -> list[str]:
    """One line for each kind of problem: count, effect, up to `EXAMPLES` paths, remedy."""
    return [
        _line(kind, [problem for problem in problems if problem.kind is kind])
        for kind in ProblemKind
        if any(problem.kind is kind for problem in problems)
    ]


def _line(kind: ProblemKind, problems: Sequence[Problem]) -> str:
    title, effect, remedy = MEANINGS[kind]
    examples = [_example(problem) for problem in problems[:EXAMPLES]]
    if len(problems) > EXAMPLES:
        examples.append("…")
    head = f"{len(problems)} × {title}" + (f", {effect}" if effect != "note" else "")
    return f"{head}: {', '.join(examples)} → {remedy}"


def _example(problem: Problem) -> str:
    paths = [printable(path) for path in problem.paths[:EXAMPLES]]
    if len(problem.paths) > EXAMPLES:
        paths.append(f"… ({len(problem.paths)} in all)")
    return " = ".join(paths) + (f" ({printable(problem.detail)})" if problem.detail else "")
