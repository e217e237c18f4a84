"""One scan of a user's folder of photos: what is good, what is not, and who is tested on."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chifoumi_jax.data.decode import MAX_PIXELS
from chifoumi_jax.data.folder.decoding import Decoded, Known, OnImage, Progress, decode_all
from chifoumi_jax.data.folder.layout import Candidate, arrange
from chifoumi_jax.data.folder.leakage import find_duplicates, find_split_sessions
from chifoumi_jax.data.folder.lists import read_groups
from chifoumi_jax.data.folder.photo import Photo
from chifoumi_jax.data.folder.selection import (
    SPLITS,
    Chosen,
    Split,
    concerning,
    has_test,
    keep,
    read_lists,
    select,
    without_class,
    without_training,
)
from chifoumi_jax.data.folder.split import bind, choose, wanted_counts
from chifoumi_jax.data.folder.walk import Tree, walk
from chifoumi_jax.data.problems import DataError, Kind, Problem
from chifoumi_jax.text import printable

__all__ = ["Photo", "Scan", "scan"]


@dataclass(frozen=True)
class Scan:
    """What a folder holds; photos are sorted by class, then by path, by code points.

    Attributes:
        root: The folder.
        classes: Names; a photo's `label` is the index of its class.
        train: Photos to train on.
        valid: Photos to choose by; may be empty.
        test: Photos to test on; may be empty.
        problems: All that is wrong; see `problems.describe`.
        fingerprint: SHA-256 of classes, splits, relative paths and contents, hexadecimal.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[Photo, ...]
    valid: tuple[Photo, ...]
    test: tuple[Photo, ...]
    problems: tuple[Problem, ...]
    fingerprint: str

    def counts(self) -> dict[str, dict[Split, int]]:
        """For each class, how many photos are in "train", "valid" and "test"."""
        labels = {split: Counter(p.label for p in getattr(self, split)) for split in SPLITS}
        return {
            class_name: {split: labels[split][label] for split in SPLITS}
            for label, class_name in enumerate(self.classes)
        }


def scan(
    directory: str | os.PathLike[str],
    *,
    groups: Path | None = None,
    train_list: Path | None = None,
    test_list: Path | None = None,
    seed: int = 0,
    test_share: float = 0.15,
    valid_share: float = 0.0,
    divided_later: bool = False,
    strict: bool = False,
    classes: Sequence[str] | None = None,
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
    on_image: OnImage | None = None,
    known: Known | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Check every photo of a folder by decoding it once; bad ones are reported and left out.

    The folder is only read. `layout.arrange` says how it may look, `selection.select` what lists
    do. The classes are those of the good training photos. Where neither folders nor lists say what
    to test on, `test_share` of each class is taken from the training photos; where no folder says
    what to validate on, `valid_share` is. Such a split depends on the seed and the photos alone,
    and photos with the same bytes or the same session stay on one side.

    Args:
        directory: The folder.
        groups: A table of capture sessions; see `lists.read_groups`.
        train_list: The photos to train on; see `lists.read_list`.
        test_list: The photos to test on.
        seed: Of the split.
        test_share: In [0, 1).
        valid_share: In [0, 1); both together below 1.
        divided_later: Whether the caller divides the training photos by their sessions; then, as
            where a share is taken here, those without a session are left out.
        strict: Refuse the folder for any problem that is more than a note.
        classes: A model's classes, in the order of its labels, to look for in a folder that it is
            to be judged by. One photo is enough then, and nothing is taken from the training
            photos.
        max_pixels: Width times height of the largest photo.
        workers: Number of threads, each with one decoded photo at a time; by default one for each
            core, 8 at most.
        on_image: Called in a worker's thread with the hash (`Photo.sha256`) and the decoded photo
            of every good file; the photo's memory is used again when it returns. It may raise
            `ImageProblem` to refuse the photo; any other error ends the scan.
        known: Called likewise with a hash, before the file is decoded: the width and height of a
            photo that is known to be good, which is then neither decoded nor given to `on_image`.
        progress: Called in this thread after every file with the numbers done and in all.

    Raises:
        DataError: If the folder, a list or the table cannot be used: one sentence for the user.
        ValueError: If the shares are out of range.
    """
    if not (0 <= test_share < 1 and 0 <= valid_share < 1 and test_share + valid_share < 1):
        raise ValueError(f"shares must be in [0, 1): test {test_share}, valid {valid_share}")
    root = Path(directory)
    tree = _walk(root)
    layout = arrange(tree, needs_train=classes is None)
    found = [*tree.problems, *layout.problems]
    lists = read_lists(train_list, test_list, layout, found)
    sessions = None if groups is None else read_groups(groups)
    problems = concerning(found, layout, lists)

    chosen = select(layout, lists)
    shares: dict[Split, float] = {
        "test": 0.0 if classes is not None or has_test(layout, lists) else test_share,
        "valid": 0.0 if classes is not None or "valid" in layout.splits else valid_share,
    }
    if sessions is not None:
        problems += _unused_rows(sessions, layout.candidates, found)
        is_divided = divided_later or any(shares.values())
        unknown = _without_session(chosen, sessions, is_left_out=is_divided)
        problems += unknown
        chosen = _without(chosen, unknown)
    strays = _strays(chosen, classes)
    problems += strays
    chosen = _without(chosen, strays)
    _require_classes(root, chosen, classes, problems)

    good, bad = decode_all(
        root,
        [candidate.path for split in SPLITS for candidate in chosen[split]],
        max_pixels=max_pixels,
        workers=workers,
        on_image=on_image,
        known=known,
        progress=progress,
    )
    sound = keep(chosen, lambda candidate: candidate.path in good)
    strays = _strays(sound, classes)
    problems += [*bad, *_emptied(chosen, sound), *strays]
    sound = _without(sound, strays)
    _require_classes(root, sound, classes, problems)

    sound = _divide(sound, shares, _bonds(good, sessions), seed)
    classes = tuple(sorted(_class_counts(sound["train"])) if classes is None else classes)
    photos = {split: _photos(sound[split], classes, good) for split in SPLITS}
    problems += _missing_classes(photos, classes)
    problems += _similar_classes(classes)
    problems += find_duplicates(photos)
    problems += find_split_sessions(photos, sessions or {})
    if strict:
        _refuse(root, problems)
    return Scan(
        root,
        classes,
        train=photos["train"],
        valid=photos["valid"],
        test=photos["test"],
        problems=tuple(problems),
        fingerprint=_fingerprint(classes, photos),
    )


def _similar_classes(classes: Sequence[str]) -> list[Problem]:
    by_name: dict[str, list[str]] = {}
    for name in classes:
        by_name.setdefault(name.casefold(), []).append(name)
    return [
        Problem(Kind.SIMILAR_CLASSES, tuple(names)) for names in by_name.values() if len(names) > 1
    ]


def _walk(root: Path) -> Tree:
    name = printable(str(root))
    try:
        return walk(root)
    except FileNotFoundError as error:
        raise DataError(f"there is no folder {name}; check the path") from error
    except NotADirectoryError as error:
        raise DataError(f"{name} is a file; a folder of photos is expected") from error
    except OSError as error:
        raise DataError(f"the folder {name} cannot be read: {error.strerror}") from error


def _strays(chosen: Chosen, classes: Sequence[str] | None) -> list[Problem]:
    return without_training(chosen) if classes is None else without_class(chosen, classes)


def _require_classes(
    root: Path, chosen: Chosen, classes: Sequence[str] | None, problems: Sequence[Problem]
) -> None:
    names = sorted(_class_counts(chosen["train"]))
    if len(names) >= 2 or (classes is not None and any(chosen.values())):
        return
    if classes is not None:
        found = f"no photos of the model's classes ({', '.join(map(printable, classes))})"
    elif names:
        found = f"photos of one class only ({printable(names[0])}) to train on"
    else:
        found = "no photos to train on"
    first = {problem.kind: printable(problem.paths[0]) for problem in reversed(problems)}
    if Kind.NO_SESSION in first:
        row = f"it names {first[Kind.UNUSED_ROW]} and " if Kind.UNUSED_ROW in first else ""
        raise DataError(
            f"{printable(str(root))} holds {found} that the groups file names; {row}lacks "
            f"{first[Kind.NO_SESSION]}: write paths as they are in that folder, with /",
            problems,
        )
    raise DataError(
        f"{printable(str(root))} holds {found}; expected <class>/<photos> or "
        "{train,valid,test}/<class>/<photos>" + (" with two classes or more" * (classes is None)),
        problems,
    )


def _without(chosen: Chosen, problems: Iterable[Problem]) -> Chosen:
    dropped = {p for problem in problems if problem.effect == "left out" for p in problem.paths}
    return keep(chosen, lambda candidate: candidate.path not in dropped)


def _unused_rows(
    sessions: Mapping[str, str], candidates: Iterable[Candidate], problems: Iterable[Problem]
) -> list[Problem]:
    known = {candidate.path for candidate in candidates}
    known.update(path for problem in problems for path in problem.paths)
    return [Problem(Kind.UNUSED_ROW, (path,)) for path in sessions if path not in known]


def _without_session(
    chosen: Chosen, sessions: Mapping[str, str], *, is_left_out: bool
) -> list[Problem]:
    kind = Kind.NO_SESSION if is_left_out else Kind.SESSION_UNCHECKED
    return [
        Problem(kind, (candidate.path,))
        for split in SPLITS
        for candidate in chosen[split]
        if candidate.path not in sessions
    ]


def _emptied(chosen: Chosen, sound: Chosen) -> list[Problem]:
    """Class folders of which no photo is good."""
    folders = {candidate.folder for split in SPLITS for candidate in chosen[split]}
    filled = {candidate.folder for split in SPLITS for candidate in sound[split]}
    return [Problem(Kind.EMPTY_CLASS, (folder,)) for folder in sorted(folders - filled)]


def _bonds(
    good: Mapping[str, Decoded], sessions: Mapping[str, str] | None
) -> dict[str, tuple[tuple[str, str], ...]]:
    return {
        path: (("content", decoded.sha256),)
        if sessions is None or path not in sessions
        else (("content", decoded.sha256), ("session", sessions[path]))
        for path, decoded in good.items()
    }


def _divide(
    chosen: Chosen,
    shares: Mapping[Split, float],
    bonds: Mapping[str, tuple[tuple[str, str], ...]],
    seed: int,
) -> Chosen:
    """Take the shares from the training photos, one split after the other."""
    totals = _class_counts(chosen["train"])
    for split, share in shares.items():
        if share == 0:
            continue
        train = chosen["train"]
        class_of = {candidate.path: candidate.class_name for candidate in train}
        units = bind({path: bonds[path] for path in class_of})
        wanted = wanted_counts(share, totals, _class_counts(train))
        taken = choose(units, class_of, wanted, seed)
        chosen = chosen | {
            "train": [candidate for candidate in train if candidate.path not in taken],
            split: [candidate for candidate in train if candidate.path in taken],
        }
    return chosen


def _class_counts(candidates: Iterable[Candidate]) -> Counter[str]:
    return Counter(candidate.class_name for candidate in candidates)


def _photos(
    candidates: Iterable[Candidate], classes: Sequence[str], good: Mapping[str, Decoded]
) -> tuple[Photo, ...]:
    labels = {name: label for label, name in enumerate(classes)}
    return tuple(
        Photo(c.path, labels[c.class_name], d.sha256, d.width, d.height)
        for c in candidates
        for d in (good[c.path],)
    )


def _missing_classes(
    photos: Mapping[Split, Sequence[Photo]], classes: Sequence[str]
) -> list[Problem]:
    return [
        Problem(Kind.CLASS_MISSING, (name,), f"none in {split}")
        for split in SPLITS
        if photos[split]
        for label, name in enumerate(classes)
        if all(photo.label != label for photo in photos[split])
    ]


def _refuse(root: Path, problems: Sequence[Problem]) -> None:
    serious = [problem for problem in problems if problem.effect != "note"]
    if serious:
        kinds = ", ".join(sorted({problem.kind for problem in serious}))
        raise DataError(
            f"{printable(str(root))} has {len(serious)} problems ({kinds}), and none is allowed; "
            "mend them, or run without strict",
            problems,
        )


def _fingerprint(classes: Sequence[str], photos: Mapping[Split, Sequence[Photo]]) -> str:
    content = [
        list(classes),
        {s: [[photo.path, photo.label, photo.sha256] for photo in photos[s]] for s in SPLITS},
    ]
    return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()
