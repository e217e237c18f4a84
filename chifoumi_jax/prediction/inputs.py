"""What a user names to be classified: files, folders, patterns, and standard input."""

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
from chifoumi_jax.data.problems import Kind
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.text import printable

STANDARD_INPUT = "-"


@dataclasses.dataclass(frozen=True)
class Input:
    """One file to classify, or a reason why there is none.

    Attributes:
        name: What the answer calls it.
        content: The file's bytes, where it came through standard input.
        problem: Why there is nothing to classify; one sentence, empty if there is.
        folder: The folder that it was found in, of a pattern the one above all that it found in
            several; empty where the user named the file.
    """

    name: str
    content: bytes | None = None
    problem: str = ""
    folder: str = ""


def expand(names: Sequence[Path], stdin: IO[bytes]) -> list[Input]:
    """The files that the names stand for, in the names' order.

    What exists is taken as it is, whatever its name. A folder stands for all pictures in it and in
    its folders, sorted; another name with `*`, `?` or `[` for what it matches, sorted, `**` for
    any folders. `-` alone is standard input: a picture, or a list of names, one a line.

    Args:
        names: As the user gave them.
        stdin: Read for `-` only.

    Raises:
        RecipeError: If `-` is not alone.
    """
    if STANDARD_INPUT not in map(str, names):
        return [found for name in names for found in _expand(name)]
    if len(names) > 1:
        raise RecipeError("- stands for standard input, and alone: leave out the other names")
    content = stdin.read(MAX_FILE_BYTES + 1)
    # A list may begin with `BM` too.
    if sniff(content) is not None and not _is_text(content):
        return [Input(STANDARD_INPUT, content)]
    return [found for name in _listed(content) for found in _expand(name)]


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def _listed(content: bytes) -> list[Path]:
    if b"\0" in content or len(content) > MAX_FILE_BYTES:
        raise RecipeError("standard input is neither a picture nor a list of paths, one a line")
    # As the file system's names are: what is no UTF-8 stays what it is.
    lines = os.fsdecode(content).split("\n")
    names = [Path(line.removesuffix("\r")) for line in lines if line.strip()]
    if not names:
        raise RecipeError("standard input is empty: a picture or a list of paths is expected")
    return names


def _expand(name: Path) -> Iterator[Input]:
    text = str(name)
    try:
        is_folder, is_there = name.is_dir(), os.path.lexists(name)
    except OSError as error:
        yield _unreadable(text, error)
        return
    if is_folder:
        yield from _in_folder(name)
    elif is_there:
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
        if problem.kind in (Kind.UNREADABLE, Kind.BAD_LINK, Kind.SPECIAL_FILE):
            path = str(folder / problem.paths[0])
            yield Input(path, problem=f"{printable(path)}: {problem.detail} ({problem.remedy})")


def _matches(pattern: Path) -> Iterator[Input]:
    text = str(pattern)
    try:
        # Unlike `glob.glob` it follows no link to a folder for `**`: such may lead in circles.
        start = Path(pattern.anchor) if pattern.is_absolute() else Path()
        found = sorted(start.glob(str(pattern.relative_to(start))))
    except (ValueError, OSError) as error:
        yield Input(text, problem=f"{printable(text)} is no pattern: {printable(str(error))}")
        return
    # Folders of `**` hold each other.
    seen: dict[str, Input] = {}
    for path in found:
        for one in _expand(path):
            if not (one.problem and path.is_dir()):
                seen.setdefault(one.name, one)
    if not seen:
        yield Input(text, problem=f"{printable(text)} matches no picture")
    folders = {str(Path(name).parent) for name in seen}
    above = os.path.commonpath(folders) if len(folders) > 1 else ""
    yield from (dataclasses.replace(one, folder=one.folder or above) for one in seen.values())
