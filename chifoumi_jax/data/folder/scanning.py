"""Scans a user's folder of photos: finds good photos and problems, and divides the splits."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chifoumi_jax.callbacks import OnProgress
from chifoumi_jax.data.decode import MAX_PIXELS
from chifoumi_jax.data.folder.decoding import Decoded, Known, OnImage, decode_all
from chifoumi_jax.data.folder.layout import Candidate, arrange
from chifoumi_jax.data.folder.leakage import find_duplicates, find_split_sessions
from chifoumi_jax.data.folder.lists import read_groups
from chifoumi_jax.data.folder.photo import Photo
from chifoumi_jax.data.folder.selection import (
    SPLITS,
    Chosen,
    Split,
    classes_without_training,
    filter_candidates,
    has_test,
    read_lists,
    relevant_problems,
    select,
    unknown_classes,
)
from chifoumi_jax.data.folder.split import choose_units, group_tied, wanted_counts
from chifoumi_jax.data.folder.walk import Tree, walk
from chifoumi_jax.data.problems import DataError, Problem, ProblemKind
from chifoumi_jax.text import printable

__all__ = ["Photo", "Scan", "scan"]


@dataclass(frozen=True)
class Scan:
    """Content of a folder; photos are sorted by class, then by path, by code points.

    Attributes:
        root: The folder.
        classes: Names; a photo's `label` is the index of its class.
        train: Photos to train on.
        valid: Photos to validate on; may be empty.
        test: Photos to test on; may be empty.
        problems: All problems that were found; see `problems.describe`.
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
    progress: OnProgress | None = None,
) -> Scan:
    """Check every photo of a folder by decoding it once; bad ones are reported and left out.

    The folder is only read. `layout.arrange` describes the accepted layouts, and `selection.select`
    the effect of file lists. The classes are those of the good training photos.

    If neither folders nor lists define the test photos, `test_share` of each class is taken from
    the training photos. If no folder defines the validation photos, `valid_share` is taken. Such a
    split depends on the seed and the photos alone, and photos with the same bytes or the same
    session stay in one split.

    Args:
        directory: The folder.
        groups: A table of capture sessions; see `lists.read_groups`.
        train_list: The photos to train on; see `lists.read_list`.
        test_list: The photos to test on.
        seed: Seed of the split.
        test_share: Share of the photos to test on, in [0, 1).
        valid_share: Share of the photos to validate on, in [0, 1); both shares together below 1.
        divided_later: Whether the caller later divides the training photos by their sessions. Then
            photos without a session are left out, as they are if a share is taken here.
        strict: Refuse the folder for any problem that is more than a note.
        classes: A model's classes, in the order of its labels, if the folder serves to evaluate
            that model. One photo is enough then, and nothing is taken from the training photos.
        max_pixels: Width times height of the largest photo.
        workers: Number of threads, each with one decoded photo at a time; by default one for each
            core, 8 at most.
        on_image: Called in a worker's thread with the hash (`Photo.sha256`) and the decoded photo
            of every good file; the photo's memory is reused after it returns. It may raise
            `ImageProblem` to refuse the photo; any other error ends the scan.
        known: Called in a worker's thread with the hash, before the file is decoded. It returns the
            width and height of a photo that is known to be good, which is then neither decoded nor
            passed to `on_image`, or None.
        progress: Called in the caller's thread after every file, with the number of files done and
            the total.

    Raises:
        DataError: If the folder, a list or the table cannot be used: one sentence for the user.
        ValueError: If the shares are out of range.
    """
    if not (0 <= test_share < 1 and 0 <= valid_share < 1 and test_share + valid_share < 1):
        raise ValueError(
            "shares must be in [0, 1) and their sum below 1, but "
            f"test_share is {test_share} and valid_share is {valid_share}"
        )
    root = Path(directory)
    tree = _walk(root)
    layout = arrange(tree, needs_train=classes is None)
    found = [*tree.problems, *layout.problems]
    lists = read_lists(train_list, test_list, layout, found)
    sessions = None if groups is None else read_groups(groups)
    problems = relevant_problems(found, layout, lists)

    chosen = select(layout, lists)
    shares: dict[Split, float] = {
        "test": 0.0 if classes is not None or has_test(layout, lists) else test_share,
        "valid": 0.0 if classes is not None or "valid" in layout.splits else valid_share,
    }
    if sessions is not None:
        problems += _unused_rows(sessions, layout.candidates, found)
        is_divided = divided_later or any(shares.values())
        unknown = _lacking_session(chosen, sessions, is_left_out=is_divided)
        problems += unknown
        chosen = _remaining(chosen, unknown)
    outside = _outside_classes(chosen, classes)
    problems += outside
    chosen = _remaining(chosen, outside)
    _require_classes(root, chosen, classes, problems)

    decoded, bad = decode_all(
        root,
        [candidate.path for split in SPLITS for candidate in chosen[split]],
        max_pixels=max_pixels,
        workers=workers,
        on_image=on_image,
        known=known,
        progress=progress,
    )
    usable = filter_candidates(chosen, lambda candidate: candidate.path in decoded)
    outside = _outside_classes(usable, classes)
    problems += [*bad, *_emptied_folders(chosen, usable), *outside]
    usable = _remaining(usable, outside)
    _require_classes(root, usable, classes, problems)

    usable = _take_shares(usable, shares, _ties(decoded, sessions), seed)
    classes = tuple(sorted(_class_counts(usable["train"])) if classes is None else classes)
    photos = {split: _labelled_photos(usable[split], classes, decoded) for split in SPLITS}
    problems += _missing_classes(photos, classes)
    problems += _similar_classes(classes)
    problems += find_duplicates(photos)
    problems += find_split_sessions(photos, sessions or {})
    if strict:
        _refuse_problems(root, problems)
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
        Problem(ProblemKind.SIMILAR_CLASSES, tuple(names))
        for names in by_name.values()
        if len(names) > 1
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


def _outside_classes(chosen: Chosen, classes: Sequence[str] | None) -> list[Problem]:
    return classes_without_training(chosen) if classes is None else unknown_classes(chosen, classes)


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
    example_path = {problem.kind: printable(problem.paths[0]) for problem in reversed(problems)}
    if ProblemKind.NO_SESSION in example_path:
        row = (
            f"it names {example_path[ProblemKind.UNUSED_ROW]} and "
            if ProblemKind.UNUSED_ROW in example_path
            else "it "
        )
        raise DataError(
            f"{printable(str(root))} holds {found} that the groups file names; {row}lacks "
            f"{example_path[ProblemKind.NO_SESSION]}; write paths relative to that folder, with /",
            problems,
        )
    raise DataError(
        f"{printable(str(root))} holds {found}; expected <class>/<photos> or "
        "{train,valid,test}/<class>/<photos>" + (" with two classes or more" * (classes is None)),
        problems,
    )


def _remaining(chosen: Chosen, problems: Iterable[Problem]) -> Chosen:
    dropped = {p for problem in problems if problem.effect == "left out" for p in problem.paths}
    return filter_candidates(chosen, lambda candidate: candidate.path not in dropped)


def _unused_rows(
    sessions: Mapping[str, str], candidates: Iterable[Candidate], problems: Iterable[Problem]
) -> list[Problem]:
    known = {candidate.path for candidate in candidates}
    known.update(path for problem in problems for path in problem.paths)
    return [Problem(ProblemKind.UNUSED_ROW, (path,)) for path in sessions if path not in known]


def _lacking_session(
    chosen: Chosen, sessions: Mapping[str, str], *, is_left_out: bool
) -> list[Problem]:
    kind = ProblemKind.NO_SESSION if is_left_out else ProblemKind.SESSION_UNCHECKED
    return [
        Problem(kind, (candidate.path,))
        for split in SPLITS
        for candidate in chosen[split]
        if candidate.path not in sessions
    ]


def _emptied_folders(chosen: Chosen, usable: Chosen) -> list[Problem]:
    """A problem for each class folder without a good photo."""
    folders = {candidate.folder for split in SPLITS for candidate in chosen[split]}
    filled = {candidate.folder for split in SPLITS for candidate in usable[split]}
    return [Problem(ProblemKind.EMPTY_CLASS, (folder,)) for folder in sorted(folders - filled)]


def _ties(
    decoded: Mapping[str, Decoded], sessions: Mapping[str, str] | None
) -> dict[str, tuple[tuple[str, str], ...]]:
    return {
        path: (("content", photo.sha256),)
        if sessions is None or path not in sessions
        else (("content", photo.sha256), ("session", sessions[path]))
        for path, photo in decoded.items()
    }


def _take_shares(
    chosen: Chosen,
    shares: Mapping[Split, float],
    ties: Mapping[str, tuple[tuple[str, str], ...]],
    seed: int,
) -> Chosen:
    """Take the shares from the training photos, one split after the other."""
    totals = _class_counts(chosen["train"])
    for split, share in shares.items():
        if share == 0:
            continue
        train = chosen["train"]
        class_of = {candidate.path: candidate.class_name for candidate in train}
        units = group_tied({path: ties[path] for path in class_of})
        wanted = wanted_counts(share, totals, _class_counts(train))
        taken = choose_units(units, class_of, wanted, seed)
        chosen = chosen | {
            "train": [candidate for candidate in train if candidate.path not in taken],
            split: [candidate for candidate in train if candidate.path in taken],
        }
    return chosen


def _class_counts(candidates: Iterable[Candidate]) -> Counter[str]:
    return Counter(candidate.class_name for candidate in candidates)


def _labelled_photos(
    candidates: Iterable[Candidate], classes: Sequence[str], decoded: Mapping[str, Decoded]
) -> tuple[Photo, ...]:
    labels = {name: label for label, name in enumerate(classes)}
    return tuple(
        Photo(c.path, labels[c.class_name], d.sha256, d.width, d.height)
        for c in candidates
        for d in (decoded[c.path],)
    )


def _missing_classes(
    photos: Mapping[Split, Sequence[Photo]], classes: Sequence[str]
) -> list[Problem]:
    return [
        Problem(ProblemKind.CLASS_MISSING, (name,), f"none in {split}")
        for split in SPLITS
        if photos[split]
        for label, name in enumerate(classes)
        if all(photo.label != label for photo in photos[split])
    ]


def _refuse_problems(root: Path, problems: Sequence[Problem]) -> None:
    serious = [problem for problem in problems if problem.effect != "note"]
    if serious:
        kinds = ", ".join(sorted({problem.kind for problem in serious}))
        raise DataError(
            f"{printable(str(root))} has {len(serious)} problems ({kinds}), and strict allows "
            "none; correct them, or run without strict",
            problems,
        )


def _fingerprint(classes: Sequence[str], photos: Mapping[Split, Sequence[Photo]]) -> str:
    content = [
        list(classes),
        {s: [[photo.path, photo.label, photo.sha256] for photo in photos[s]] for s in SPLITS},
    ]
    return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()
