"""What can be wrong with a folder of photos, how to mend it, and how to say so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

from chifoumi_jax.errors import UserError
from chifoumi_jax.text import printable

# How many paths of one kind of problem are named; the count says how many more there are.
EXAMPLES = 3


class Kind(StrEnum):
    """A kind of problem; the value is how a program names it (JSON, tests)."""

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
    """What a kind of problem is called, what becomes of the files, and the remedy."""

    title: str
    effect: Effect
    remedy: str


MEANINGS: dict[Kind, Meaning] = {
    Kind.UNREADABLE: Meaning(
        "unreadable file or folder", "left out", "check the path, its permissions and the disk"
    ),
    Kind.SPECIAL_FILE: Meaning(
        "pipe, socket or device", "left out", "move it out of the photos' folder"
    ),
    Kind.BAD_LINK: Meaning(
        "link that is not followed",
        "left out",
        "put the photos themselves, or links to single files, in its place",
    ),
    Kind.UNKNOWN_EXTENSION: Meaning(
        "file without a picture's extension",
        "left out",
        "move it out of the class folder, or give a picture its extension",
    ),
    Kind.EMPTY_FILE: Meaning("file of zero bytes", "left out", "copy it again from its source"),
    Kind.NOT_AN_IMAGE: Meaning(
        "file that is not a picture", "left out", "remove it, or save it as JPEG or PNG"
    ),
    Kind.NO_DECODER: Meaning(
        "picture in a format that this installation cannot read",
        "left out",
        "for HEIC: pip install pillow-heif; for AVIF: pip install --upgrade pillow; "
        "or save it as JPEG",
    ),
    Kind.DAMAGED: Meaning(
        "truncated or corrupt picture", "left out", "copy it again from its source"
    ),
    Kind.TOO_LARGE: Meaning("picture over the limits", "left out", "save it smaller"),
    Kind.UNSUPPORTED: Meaning(
        "picture with unusual colours", "left out", "save it as RGB or grayscale"
    ),
    Kind.OUTSIDE_CLASS: Meaning(
        "picture outside of the class folders", "left out", "move it into its class's folder"
    ),
    Kind.EMPTY_CLASS: Meaning(
        "class folder without a good picture", "left out", "add pictures, or remove the folder"
    ),
    Kind.CLASS_NOT_IN_TRAIN: Meaning(
        "class that has no training picture",
        "left out",
        "add pictures of it to train, or mend the folder's name",
    ),
    Kind.UNKNOWN_CLASS: Meaning(
        "class that the model was not trained on",
        "left out",
        "give the folder the name of one of the model's classes",
    ),
    Kind.NO_SESSION: Meaning(
        "picture that the groups file does not name", "left out", "add a row for it"
    ),
    Kind.CLASS_MISSING: Meaning(
        "class without a picture to test or validate on",
        "kept",
        "add pictures of it, or its accuracy stays unknown",
    ),
    Kind.SIMILAR_CLASSES: Meaning(
        "class names that differ in upper and lower case only",
        "kept",
        "merge the folders, or give them other names",
    ),
    Kind.LEAKAGE: Meaning(
        "same picture in two splits (leakage: its accuracy is not a test)",
        "kept",
        "remove one of the copies",
    ),
    Kind.LABEL_CONFLICT: Meaning(
        "same picture in two classes", "kept", "remove the copy in the wrong class"
    ),
    Kind.SESSION_LEAKAGE: Meaning(
        "session with pictures in two splits (leakage)",
        "kept",
        "move its pictures to one side, or leave the split to the program",
    ),
    Kind.SESSION_UNCHECKED: Meaning(
        "picture that the groups file does not name", "kept", "add a row for it"
    ),
    Kind.UNUSED_ROW: Meaning(
        "row of the groups file that names no picture", "kept", "mend the row's path"
    ),
    Kind.DUPLICATE: Meaning(
        "same picture twice in one class, kept", "note", "remove the copies if they are not meant"
    ),
    Kind.HIDDEN: Meaning("hidden file or folder, ignored", "note", "nothing to do"),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What it is.
        paths: The files or folders that it is about, relative to the scanned folder.
        detail: What exactly was found, one line; may be empty.
    """

    kind: Kind
    paths: tuple[str, ...]
    detail: str = ""

    @property
    def effect(self) -> Effect:
        """Whether the files were left out, were kept, or nothing is wrong."""
        return MEANINGS[self.kind].effect

    @property
    def remedy(self) -> str:
        """What the user can do."""
        return MEANINGS[self.kind].remedy


class ImageProblem(ValueError):  # noqa: N818 - it becomes a `Problem` of the scan
    """An image file that is refused.

    Attributes:
        kind: Why.
        path: The file.
        detail: What exactly was found.
    """

    def __init__(self, kind: Kind, path: str, detail: str):
        self.kind = kind
        self.path = path
        self.detail = printable(detail)
        super().__init__(f"{printable(path)}: {self.detail} ({MEANINGS[kind].remedy})")


class DataError(UserError, ValueError):
    """A folder, a file list or a groups file that cannot be used: one sentence for the user.

    Attributes:
        problems: What the scan had found until then.
    """

    def __init__(self, message: str, problems: Iterable[Problem] = ()):
        self.problems = tuple(problems)
        super().__init__(message, describe(self.problems))


def describe(problems: Sequence[Problem]) -> list[str]:
    """One line for each kind of problem: count, effect, up to `EXAMPLES` paths, remedy."""
    return [
        _line(kind, [problem for problem in problems if problem.kind is kind])
        for kind in Kind
        if any(problem.kind is kind for problem in problems)
    ]


def _line(kind: Kind, problems: Sequence[Problem]) -> str:
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
