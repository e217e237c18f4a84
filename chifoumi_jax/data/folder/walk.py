"""Lists everything in a folder without opening a file or leaving the folder."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from chifoumi_jax.data.problems import Problem, ProblemKind

# Operating systems and programs create these beside a user's photos; `@eaDir` holds thumbnails.
_HIDDEN = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"}


@dataclass(frozen=True)
class Tree:
    """Content of a folder; paths are relative, with `/`, sorted by code points.

    Attributes:
        files: Regular files, and links to regular files.
        folders: Folders, without the root.
        problems: Entries that are neither, and hidden entries.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]
    problems: tuple[Problem, ...]


def walk(root: Path) -> Tree:
    """List `root` with all its folders.

    Links to files are followed. Links to folders are not: inside `root` they only lead to files
    that are listed anyway, and outside `root` they leave the folder that the user named.

    Raises:
        OSError: If `root` itself cannot be listed.
    """
    files: list[str] = []
    folders: list[str] = []
    problems: list[Problem] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = _entries(root / folder)
        except OSError as error:
            if not folder:
                raise
            problems.append(
                Problem(ProblemKind.UNREADABLE, (folder,), error.strerror or str(error))
            )
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if (problem := _problem(root, path, entry)) is not None:
                problems.append(problem)
            elif entry.is_dir():
                folders.append(path)
                pending.append(path)
            else:
                files.append(path)
    problems.sort(key=lambda problem: problem.paths)
    return Tree(tuple(sorted(files)), tuple(sorted(folders)), tuple(problems))


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    with os.scandir(folder) as entries:
        return list(entries)


def _problem(root: Path, path: str, entry: "os.DirEntry[str]") -> Problem | None:
    name = entry.name
    if name.startswith(".") or name.lower() in _HIDDEN:
        return Problem(ProblemKind.HIDDEN, (path,))
    is_link = False
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
        is_link = stat.S_ISLNK(mode)
        if is_link:
            mode = entry.stat().st_mode
    except OSError as error:
        kind = ProblemKind.BAD_LINK if is_link else ProblemKind.UNREADABLE
        return Problem(kind, (path,), error.strerror or str(error))
    if is_link and stat.S_ISDIR(mode):
        return Problem(ProblemKind.BAD_LINK, (path,), _link_detail(root, root / path))
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return Problem(ProblemKind.SPECIAL_FILE, (path,), "not a regular file")
    return None


def _link_detail(root: Path, link: Path) -> str:
    target = link.resolve()
    if link.parent.resolve().is_relative_to(target):
        return "leads back to a folder that holds it"
    if not target.is_relative_to(root.resolve()):
        return f"leaves the folder, to {target}"
    return f"a second path to {target}"
