"""Splits: complete, disjoint, fair to each class, and the same everywhere."""

import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chifoumi_jax.data.folder.scanning import Scan, scan
from chifoumi_jax.data.folder.split import choose_units, group_tied, wanted_counts
from chifoumi_jax.data.problems import ProblemKind
from tests.photos import good_folder, photo, write

COUNTS = st.lists(st.integers(1, 40), min_size=2, max_size=6)
SEEDS = st.integers(-(2**40), 2**40)


def paths_of(counts: list[int]) -> dict[str, str]:
    return {f"{k}/{i}": str(k) for k, count in enumerate(counts) for i in range(count)}


@settings(deadline=None)
@given(counts=COUNTS, seed=SEEDS, share=st.floats(0, 0.99))
def test_a_stratified_split_takes_its_share_of_each_class(
    counts: list[int], seed: int, share: float
) -> None:
    class_of = paths_of(counts)
    totals = Counter(class_of.values())
    wanted = wanted_counts(share, totals, totals)
    units = [(path,) for path in class_of]
    chosen = choose_units(units, class_of, wanted, seed)
    taken = Counter(class_of[path] for path in chosen)
    for name, total in totals.items():
        assert taken[name] == wanted[name] < total
        assert wanted[name] >= (total >= 2 and share > 0)
        if share > 0 and 1 < share * total < total - 1:
            assert abs(wanted[name] - share * total) <= 0.5
    random.Random(seed).shuffle(units)
    assert choose_units(units, class_of, wanted, seed) == chosen


@settings(deadline=None)
@given(counts=COUNTS, seed=SEEDS, share=st.floats(0.01, 0.6), data=st.data())
def test_groups_are_never_split(
    counts: list[int], seed: int, share: float, data: st.DataObject
) -> None:
    class_of = paths_of(counts)
    sessions = data.draw(
        st.lists(st.integers(0, 12), min_size=len(class_of), max_size=len(class_of))
    )
    units = group_tied({path: [s] for path, s in zip(class_of, sessions, strict=True)})
    totals = Counter(class_of.values())
    chosen = choose_units(units, class_of, wanted_counts(share, totals, totals), seed)
    for unit in units:
        assert len(chosen & set(unit)) in {0, len(unit)}
    left = Counter(name for path, name in class_of.items() if path not in chosen)
    assert left.keys() == totals.keys()


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 30).map(str), st.lists(st.integers(0, 10), max_size=3)))
def test_units_are_the_connected_components(ties: dict[str, list[int]]) -> None:
    units = group_tied(ties)
    assert sorted(path for unit in units for path in unit) == sorted(ties)
    # The expected unit: add the paths that share a tie, step by step.
    for unit in units:
        reached = {unit[0]}
        unit_ties = set(ties[unit[0]])
        for _ in ties:
            reached |= {path for path in ties if unit_ties & set(ties[path])}
            unit_ties |= {tie for path in reached for tie in ties[path]}
        assert reached == set(unit)


def test_the_split_depends_on_the_seed_alone() -> None:
    class_of = paths_of([30, 30])
    wanted = {"0": 5, "1": 5}
    units = [(path,) for path in class_of]
    splits = [choose_units(units, class_of, wanted, seed) for seed in range(20)]
    assert len(set(splits)) == 20
    # Fixed values, so that a difference on another platform or Python version is noticed.
    expected = "0/14 0/16 0/22 0/29 0/6 1/15 1/19 1/25 1/3 1/9"
    assert sorted(splits[0]) == expected.split()
    # One more photo changes little.
    more = [*units, ("0/new",)]
    other = choose_units(more, class_of | {"0/new": "0"}, wanted, 0)
    assert len(other & splits[0]) >= 9


def test_whole_sessions_come_close_to_the_share() -> None:
    class_of, ties = {}, {}
    for session in range(20):
        for i in range(5 + session % 7):
            for name in "abc":
                class_of[f"{name}/{session}-{i}"] = name
                ties[f"{name}/{session}-{i}"] = [session]
    totals = Counter(class_of.values())
    wanted = wanted_counts(0.15, totals, totals)
    for seed in range(20):
        taken = Counter(
            class_of[path] for path in choose_units(group_tied(ties), class_of, wanted, seed)
        )
        for name in "abc":
            assert abs(taken[name] - wanted[name]) <= 2


def test_each_class_has_test_photos_even_if_its_sessions_exceed_the_share() -> None:
    class_of = {f"{name}/{i}": name for name in "abc" for i in range(20)}
    units = group_tied({path: [f"{path[0]}{path[-1] in '02468'}"] for path in class_of})
    assert len(units) == 6
    totals = Counter(class_of.values())
    chosen = choose_units(units, class_of, wanted_counts(0.1, totals, totals), 0)
    assert Counter(class_of[path] for path in chosen) == {"a": 10, "b": 10, "c": 10}


def grouped(root: Path, sessions: dict[str, str]) -> Path:
    file = root / "groups.csv"
    file.write_text("path,session\n" + "".join(f"{p},{s}\n" for p, s in sessions.items()))
    return file


def session_splits(found: Scan, sessions: dict[str, str]) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = {}
    for split in ("train", "valid", "test"):
        for item in getattr(found, split):
            splits.setdefault(sessions[item.path], set()).add(split)
    return splits


@pytest.mark.parametrize("seed", range(5))
def test_sessions_are_not_divided(tmp_path: Path, seed: int) -> None:
    good_folder(tmp_path, photos=12)
    sessions = {f"{c}/{i}.png": f"s{i // 2}" for c in "abc" for i in range(12)}
    found = scan(tmp_path, groups=grouped(tmp_path, sessions), seed=seed, valid_share=0.15)
    assert not found.problems
    assert all(len(splits) == 1 for splits in session_splits(found, sessions).values())
    assert found.counts() == {key: {"train": 8, "valid": 2, "test": 2} for key in "abc"}


def test_identical_photos_join_their_sessions(tmp_path: Path) -> None:
    good_folder(tmp_path, photos=6)
    write(tmp_path, {"a/0.png": photo(77), "a/3.png": photo(77)})
    sessions = {f"{c}/{i}.png": f"s{i // 2}" for c in "abc" for i in range(6)}
    for seed in range(8):
        found = scan(tmp_path, groups=grouped(tmp_path, sessions), seed=seed, test_share=0.5)
        splits = session_splits(found, sessions)
        assert splits["s0"] == splits["s1"]
        assert ProblemKind.LEAKAGE not in {problem.kind for problem in found.problems}


def test_a_class_with_one_session_stays_in_train(tmp_path: Path) -> None:
    good_folder(tmp_path, photos=6)
    sessions = {f"{c}/{i}.png": f"s{i // 2}" for c in "ab" for i in range(6)}
    sessions |= {f"c/{i}.png": "alone" for i in range(6)}
    found = scan(tmp_path, groups=grouped(tmp_path, sessions), test_share=0.3)
    assert found.counts()["c"] == {"train": 6, "valid": 0, "test": 0}
    assert [(p.kind, p.paths) for p in found.problems] == [(ProblemKind.CLASS_MISSING, ("c",))]


def test_a_photo_without_a_session_is_left_out_of_a_split_by_sessions(tmp_path: Path) -> None:
    good_folder(tmp_path, photos=4)
    sessions = {f"{c}/{i}.png": f"s{i}" for c in "abc" for i in range(4)}
    del sessions["b/2.png"]
    groups = grouped(tmp_path, sessions | {"b/none.png": "s1"})
    found = scan(tmp_path, groups=groups)
    problems = {p.kind: p.paths for p in found.problems}
    assert problems == {
        ProblemKind.NO_SESSION: ("b/2.png",),
        ProblemKind.UNUSED_ROW: ("b/none.png",),
    }
    assert found.counts()["b"]["train"] + found.counts()["b"]["test"] == 3


def test_with_split_folders_sessions_are_only_checked(tmp_path: Path) -> None:
    for split in ("train", "test"):
        good_folder(tmp_path, "ab", photos=2, prefix=f"{split}/")
    sessions = {
        f"{s}/{c}/{i}.png": f"{s}{i}" for s in ("train", "test") for c in "ab" for i in (0, 1)
    }
    sessions["test/a/1.png"] = "train1"
    del sessions["test/b/0.png"]
    found = scan(tmp_path, groups=grouped(tmp_path, sessions))
    assert found.counts() == {key: {"train": 2, "valid": 0, "test": 2} for key in "ab"}
    problems = {p.kind: (p.paths, p.detail) for p in found.problems}
    assert problems == {
        ProblemKind.SESSION_UNCHECKED: (("test/b/0.png",), ""),
        ProblemKind.SESSION_LEAKAGE: (
            ("train/a/1.png", "train/b/1.png", "test/a/1.png"),
            "session train1 in test and train",
        ),
    }


def test_a_row_for_a_bad_or_unlisted_file_is_not_unused(tmp_path: Path) -> None:
    root = good_folder(tmp_path / "photos", "ab")
    write(root, {"a/notes.txt": b"x", "a/bad.png": b""})
    rows = ["a/0.png", "a/1.png", "b/0.png", "b/1.png", "a/notes.txt", "a/bad.png"]
    groups = grouped(tmp_path, {path: path for path in rows})
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("a/0.png\nb/0.png\n")
    two.write_text("a/1.png\nb/1.png\n")
    assert not scan(root, groups=groups, train_list=one, test_list=two).problems


@settings(deadline=None, max_examples=25)
@given(
    counts=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    seed=SEEDS,
    shares=st.tuples(st.floats(0, 0.49), st.floats(0, 0.49)),
)
def test_a_scans_splits_are_a_partition(
    counts: list[int], seed: int, shares: tuple[float, float]
) -> None:
    files = {
        f"class {k}/{i}.png": photo(100 * k + i) for k, n in enumerate(counts) for i in range(n)
    }
    with tempfile.TemporaryDirectory() as name:
        root = write(Path(name), files)
        found = scan(root, seed=seed, test_share=shares[0], valid_share=shares[1], workers=1)
        again = scan(root, seed=seed, test_share=shares[0], valid_share=shares[1])
    assert found == again
    items = [item.path for item in (*found.train, *found.valid, *found.test)]
    assert sorted(items) == sorted(files)
    for count, splits in zip(counts, found.counts().values(), strict=True):
        assert splits["train"] >= 1
        assert splits["test"] >= (count >= 2 and shares[0] > 0)
        assert splits["valid"] >= (count - splits["test"] >= 2 and shares[1] > 0)
