"""The files to classify, from the user's files, folders, patterns and standard input."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from chifoumi_jax.data.decode import MAX_FILE_BYTES, sniff
from chifoumi_jax.data.folder.layout import has_extension
from chifoumi_jax.data.folder.walk import walk
from chifoumi_jax.data.problems import ProblemKind
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.text import printable

STANDARD_INPUT = "-"


@dataclasses.dataclass(frozen=True)
class Input:
    """One file to classify, or a reason why there is none.

    Attributes:
        name: Name of the file in the answer.
        content: The file's bytes if they came through standard input.
        problem: One sentence that says why there is nothing to classify; empty if there is a file.
        folder: The folder that the file was found in; if a pattern found files in several folders,
            their common parent folder. Empty if the user named the file.
    """

    name: str
    content: bytes | None = None
    problem: str = ""
    folder: str = ""


def expand(names: Sequence[Path], stdin: IO[bytes]) -> list[Input]:
    """The files that the names mean, in the order of the names.

    A name that exists is never a pattern. A folder means all pictures in it and in its subfolders,
    sorted. A name that does not exist and has `*`, `?` or `[` is a pattern; it means all files that
    it matches, sorted, and its `**` matches any number of folders. `-` is standard input: a
    picture, or a list of names, one a line.

    Args:
        names: The user's arguments.
        stdin: Standard input, read only for `-`.

    Raises:
        RecipeError: If `-` is not the only name, or standard input is empty or is neither a picture
            nor a list.
    """
    if STANDARD_INPUT not in map(str, names):
        return [found for name in names for found in _expand_name(name)]
    if len(names) > 1:
        raise RecipeError("- means standard input and must be the only name: remove the others")
    content = stdin.read(MAX_FILE_BYTES + 1)
    # A list of names may begin with `BM`, the signature of a BMP file.
    if sniff(content) is not None and not _is_text(content):
        return [Input(STANDARD_INPUT, content)]
    return [found for name in _read_list(content) for found in _expand_name(name)]


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def _read_list(content: bytes) -> list[Path]:
    if b"\0" in content or len(content) > MAX_FILE_BYTES:
        raise RecipeError("standard input is neither a picture nor a list of paths, one a line")
    # As for names of the file system: bytes that are not valid UTF-8 are kept.
    lines = os.fsdecode(content).split("\n")
    names = [Path(line.removesuffix("\r")) for line in lines if line.strip()]
    if not names:
        raise RecipeError("standard input is empty; expected a picture or a list of paths")
    return names


def _expand_name(name: Path) -> Iterator[Input]:
    text = str(name)
    try:
        is_folder, exists = name.is_dir(), os.path.lexists(name)
    except OSError as error:
        yield _unreadable(text, error)
        return
    if is_folder:
        yield from _in_folder(name)
    elif exists:
        yield Input(text)
    elif glob.has_magic(text):
        yield from _matches(name)
    else:
        yield Input(text, problem=f"{printable(text)}: there is no such file or folder")


def _unreadable(name: str, error: OSError) -> Input:
    reason = (error.strerror or str(error)).lower()
    return Input(name, problem=f"{printable(name)} cannot be read: {reason}")


def _in_folder(folder: Path) -> Iterator[Input]:
    try:
        tree = walk(folder)
    except OSError as error:
        yield _unreadable(str(folder), error)
        return
    files = [str(folder / path) for path in tree.files if has_extension(path)]
    if not files:
        yield Input(str(folder), problem=f"{printable(str(folder))} holds no picture")
    yield from (Input(file, folder=str(folder)) for file in files)
    for problem in tree.problems:
        if problem.kind in (ProblemKind.UNREADABLE, ProblemKind.BAD_LINK, ProblemKind.SPECIAL_FILE):
            path = str(folder / problem.paths[0])
            yield Input(path, problem=f"{printable(path)}: {problem.detail} ({problem.remedy})")


def _matches(pattern: Path) -> Iterator[Input]:
    text = str(pattern)
    try:
        # Unlike `glob.glob`, `Path.glob` follows no links to folders for `**`; these may be cyclic.
        start = Path(pattern.anchor) if pattern.is_absolute() else Path()
        found = sorted(start.glob(str(pattern.relative_to(start))))
    except (ValueError, OSError) as error:
        yield Input(
            text, problem=f"{printable(text)} is not a valid pattern: {printable(str(error))}"
        )
        return
    # `**` matches a folder and its subfolders, so the same file is found more than once.
    seen: dict[str, Input] = {}
    for path in found:
        for item in _expand_name(path):
            if not (item.problem and path.is_dir()):
                seen.setdefault(item.name, item)
    if not seen:
        yield Input(text, problem=f"{printable(text)} matches no picture")
    folders = {str(Path(name).parent) for name in seen}
    parent = os.path.commonpath(folders) if len(folders) > 1 else ""
    yield from (dataclasses.replace(item, folder=item.folder or parent) for item in seen.values())
