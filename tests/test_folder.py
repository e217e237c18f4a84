"""Scanning good folders, and folders with each kind of problem."""

import os
import sys
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chifoumi_jax.data.decode import decode, read_bytes, to_rgb
from chifoumi_jax.data.folder.scanning import Photo, Scan, scan
from chifoumi_jax.data.problems import (
    MEANINGS,
    DataError,
    ImageProblem,
    Problem,
    ProblemKind,
    describe,
)
from chifoumi_jax.text import printable
from tests.photos import FORMATS, bomb, claims, encode, good_folder, photo, picture, write


def kinds(found: Scan) -> dict[ProblemKind, list[str]]:
    """The paths of each kind of problem."""
    paths: dict[ProblemKind, list[str]] = {}
    for problem in found.problems:
        paths.setdefault(problem.kind, []).extend(problem.paths)
    return paths


def photos(found: Scan) -> list[Photo]:
    return [*found.train, *found.valid, *found.test]


def paths(found: Scan) -> set[str]:
    return {photo.path for photo in photos(found)}


def snapshot(root: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder with its size, mode and time of change."""
    return {
        str(path): (status.st_size, status.st_mode, status.st_mtime_ns)
        for path in [root, *root.rglob("*")]
        for status in [path.lstat()]
    }


# Good folders


def test_class_folders_are_split_automatically(tmp_path: Path) -> None:
    good_folder(tmp_path, "cab", photos=10)
    found = scan(tmp_path)
    assert found.root == tmp_path
    assert found.classes == ("a", "b", "c")
    assert not found.problems
    assert found.counts() == {key: {"train": 8, "valid": 0, "test": 2} for key in "abc"}
    for item in photos(found):
        assert found.classes[item.label] == item.path[0]
        assert (item.width, item.height) == picture().size


def test_split_folders_define_the_splits(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("valid", 1), ("test", 2)):
        good_folder(tmp_path, photos=count, prefix=f"{split}/")
    found = scan(tmp_path, test_share=0.9, valid_share=0.05)
    assert not found.problems
    assert found.counts() == {key: {"train": 3, "valid": 1, "test": 2} for key in "abc"}
    for split in ("train", "valid", "test"):
        assert all(item.path.startswith(f"{split}/") for item in getattr(found, split))


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [("Train", "VAL", "TEST"), ("training", "validation", "testing")],
)
def test_other_names_of_split_folders_are_accepted(
    tmp_path: Path, train: str, valid: str, test: str
) -> None:
    for name in (train, valid, test):
        good_folder(tmp_path, photos=1, prefix=f"{name}/")
    assert scan(tmp_path).counts() == {key: {"train": 1, "valid": 1, "test": 1} for key in "abc"}


def test_without_a_test_folder_test_photos_are_taken_from_train(tmp_path: Path) -> None:
    good_folder(tmp_path, photos=10, prefix="train/")
    good_folder(tmp_path, photos=1, prefix="valid/")
    counts = scan(tmp_path, test_share=0.3, valid_share=0.3).counts()
    assert counts == {key: {"train": 7, "valid": 1, "test": 3} for key in "abc"}


def test_photos_in_subfolders_of_a_class_are_found(tmp_path: Path) -> None:
    good_folder(tmp_path)
    write(tmp_path, {"a/more/and more/x.png": photo(99)})
    assert "a/more/and more/x.png" in paths(scan(tmp_path))


def test_order_is_by_class_then_by_code_points(tmp_path: Path) -> None:
    names = ["B.png", "a.png", "b/1.png", "b.png", "é.png", "手.png", "10.png", "9.png"]
    classes = ["z", "Z", "Z-a"]
    files = [f"{c}/{name}" for c in classes for name in names]
    write(tmp_path, {path: photo(i) for i, path in enumerate(files)})
    found = scan(tmp_path, test_share=0)
    assert found.classes == ("Z", "Z-a", "z")
    expected = [f"{c}/{name}" for c in sorted(classes) for name in sorted(names)]
    assert [item.path for item in found.train] == expected
    assert not found.test


def test_files_beside_the_class_folders_are_ignored(tmp_path: Path) -> None:
    good_folder(tmp_path, prefix="train/")
    good_folder(tmp_path, prefix="test/")
    write(tmp_path, {"README.md": b"x", "train/list.csv": b"x", "docs/a/notes.txt": b"x"})
    assert not scan(tmp_path, strict=True).problems


def test_every_format_mode_and_file_name_is_accepted(tmp_path: Path) -> None:
    files = {f"a/photo.{suffix}": photo(i, suffix) for i, suffix in enumerate(FORMATS)}
    files |= {
        f"b/{mode}.PNG": encode(picture(50 + i, mode=mode), format="PNG")
        for i, mode in enumerate(["L", "1", "P", "RGBA", "LA", "I;16"][:5])
    }
    files |= {
        "b/cmyk.JPEG": encode(picture(60, mode="CMYK"), format="JPEG"),
        "b/16 bit.TIFF": encode(Image.fromarray(np.eye(9, dtype=np.uint16)), format="TIFF"),
        "c/été.jpg": photo(70, "jpg"),
        "c/手.WebP": photo(71, "webp"),
        "c/new\nline.png": photo(72),
        "c/\x1b[31m.png": photo(73),
        "c/" + os.fsdecode(b"\xff\xfe.png"): photo(74),
        "c/a picture of another kind.jpg": photo(75, "png"),
        "c/two.dots..gif": photo(76, "gif"),
    }
    write(tmp_path, files)
    found = scan(tmp_path, on_image=lambda _, image: to_rgb(image, upright=True))
    assert not found.problems
    assert paths(found) == set(files)
    assert len(found.fingerprint) == 64


# The folder itself


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no photos to train on"),
        ({"a/readme.txt": b"x"}, "no photos to train on"),
        ({"1.png": photo(1), "2.png": photo(2)}, "no photos to train on"),
        ({"a/1.png": photo(1), "a/2.png": photo(2)}, r"one class only \(a\)"),
        ({"a/1.png": photo(1), "b/2.png": b"broken"}, r"one class only \(a\)"),
        ({"a/1.png": photo(1), ".b/2.png": photo(2)}, r"one class only \(a\)"),
        ({"train/a/1.png": photo(1), "test/b/1.png": photo(2)}, r"one class only \(a\)"),
        ({"test/a/1.png": photo(1), "test/b/1.png": photo(2)}, "no folder train beside test"),
        ({"train/a/1.png": photo(1), "b/1.png": photo(2)}, r"\(train\) and class folders \(b\)"),
        ({"val/a/1.png": photo(1), "valid/a/1.png": photo(2)}, "same split: val, valid"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        scan(write(tmp_path, files))
    assert "\n" not in str(caught.value)


def test_a_missing_path_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*none"):
        scan(tmp_path / "none")
    (tmp_path / "file.zip").touch()
    with pytest.raises(DataError, match=r"file\.zip is a file"):
        scan(tmp_path / "file.zip")


def test_an_error_carries_the_problems_found_so_far(tmp_path: Path) -> None:
    write(tmp_path, {"a/1.png": photo(1), "b/2.png": b""})
    with pytest.raises(DataError) as caught:
        scan(tmp_path)
    assert [p.kind for p in caught.value.problems] == [
        ProblemKind.EMPTY_FILE,
        ProblemKind.EMPTY_CLASS,
    ]


@pytest.mark.parametrize("shares", [(-0.1, 0), (1, 0), (0, 1), (0.5, 0.5), (float("nan"), 0)])
def test_shares_out_of_range_are_refused(tmp_path: Path, shares: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="shares must be in"):
        scan(good_folder(tmp_path), test_share=shares[0], valid_share=shares[1])


# Bad files

BAD_FILES = {
    "truncated.jpg": (photo(90, "jpg")[:-30], ProblemKind.DAMAGED),
    "truncated.png": (photo(90, "png")[:-200], ProblemKind.DAMAGED),
    "corrupt.png": (photo(90, "png").replace(b"IDAT", b"IDAT\0\0\0\0", 1), ProblemKind.DAMAGED),
    "zero.jpg": (b"", ProblemKind.EMPTY_FILE),
    "text.jpg": (b"not a picture", ProblemKind.NOT_AN_IMAGE),
    "claim.png": (claims(60_000, 60_000)["png"], ProblemKind.TOO_LARGE),
    "bomb.png": (bomb(), ProblemKind.TOO_LARGE),
    "notes.txt": (b"text", ProblemKind.UNKNOWN_EXTENSION),
    "none": (photo(91), ProblemKind.UNKNOWN_EXTENSION),
    "half.jpg.part": (photo(92), ProblemKind.UNKNOWN_EXTENSION),
    "photo.heic": (b"\0\0\0\x18ftypheic" + bytes(100), ProblemKind.NO_DECODER),
    "really heic.jpg": (b"\0\0\0\x18ftypheix" + bytes(100), ProblemKind.NO_DECODER),
}


@pytest.fixture
def no_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)


@pytest.mark.usefixtures("no_heif")
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_reported_and_left_out(tmp_path: Path, name: str) -> None:
    content, kind = BAD_FILES[name]
    good_folder(tmp_path)
    clean = scan(tmp_path)
    write(tmp_path, {f"a/{name}": content})
    found = scan(tmp_path)
    assert kinds(found) == {kind: [f"a/{name}"]}
    assert found.problems[0].effect == "left out"
    assert found.problems[0].remedy
    assert (found.train, found.test, found.fingerprint) == (
        clean.train,
        clean.test,
        clean.fingerprint,
    )
    with pytest.raises(DataError, match=rf"1 problems \({kind}\)"):
        scan(tmp_path, strict=True)


@pytest.mark.usefixtures("no_heif")
def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    good_folder(tmp_path)
    write(tmp_path, {f"b/{name}": content for name, (content, _) in BAD_FILES.items()})
    found = scan(tmp_path)
    assert Counter(p.kind for p in found.problems) == Counter(k for _, k in BAD_FILES.values())
    lines = describe(found.problems)
    assert len(lines) == len({kind for _, kind in BAD_FILES.values()})
    assert any("pip install pillow-heif" in line for line in lines)
    with pytest.raises(DataError, match=f"{len(BAD_FILES)} problems") as caught:
        scan(tmp_path, strict=True)
    assert caught.value.problems == found.problems


def test_max_pixels_is_passed_to_the_decoder(tmp_path: Path) -> None:
    good_folder(tmp_path)
    write(tmp_path, {"a/large.png": encode(picture(7, (40, 30)), format="PNG")})
    assert kinds(scan(tmp_path, max_pixels=1199)) == {ProblemKind.TOO_LARGE: ["a/large.png"]}
    assert not scan(tmp_path, max_pixels=1200).problems


HIDDEN = [
    ".DS_Store",
    "a/.x.png",
    "a/._0.png",
    ".ipynb_checkpoints/1.png",
    "a/.ipynb_checkpoints/1.png",
    "__MACOSX/1.png",
    "a/Thumbs.db",
    "a/desktop.ini",
    "a/@eaDir/0.png",
]


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_files_are_neither_class_nor_photo(tmp_path: Path, name: str) -> None:
    good_folder(tmp_path)
    write(tmp_path, {name: photo(80)})
    found = scan(tmp_path, strict=True)
    assert found.classes == ("a", "b", "c")
    assert len(photos(found)) == 9
    assert [p.kind for p in found.problems] == [ProblemKind.HIDDEN]


def test_a_picture_outside_the_class_folders_is_reported(tmp_path: Path) -> None:
    good_folder(tmp_path, prefix="train/")
    good_folder(tmp_path, prefix="test/")
    write(tmp_path, {"loose.jpg": photo(80), "train/loose.jpg": photo(81)})
    assert kinds(scan(tmp_path)) == {ProblemKind.OUTSIDE_CLASS: ["loose.jpg", "train/loose.jpg"]}


def test_problems_are_sorted_by_path(tmp_path: Path) -> None:
    good_folder(tmp_path)
    names = [f"{c}/{i}.txt" for c in "abc" for i in range(10)]
    write(tmp_path, dict.fromkeys(reversed(names), b"x"))
    assert kinds(scan(tmp_path)) == {ProblemKind.UNKNOWN_EXTENSION: names}


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    good_folder(tmp_path)
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    assert kinds(scan(tmp_path)) == {ProblemKind.SPECIAL_FILE: ["a/pipe.jpg", "pipe"]}


def test_links_to_files_are_followed_and_other_links_are_reported(tmp_path: Path) -> None:
    root = good_folder(tmp_path / "photos")
    write(tmp_path, {"outside/1.png": photo(80)})
    (root / "a" / "link.png").symlink_to(tmp_path / "outside" / "1.png")
    (root / "a" / "broken.png").symlink_to("nowhere.png")
    (root / "a" / "self.png").symlink_to("self.png")
    (root / "a" / "null.png").symlink_to("/dev/null")
    (root / "a" / "loop").symlink_to(root)
    (root / "alias").symlink_to(root / "a")
    (root / "far").symlink_to(tmp_path / "outside")
    found = scan(root)
    assert "a/link.png" in paths(found)
    assert len(photos(found)) == 10
    details = {p.paths[0]: (p.kind, p.detail) for p in found.problems}
    assert details.keys() == {
        *("a/broken.png", "a/self.png", "a/null.png", "a/loop", "alias", "far"),
    }
    assert details["a/null.png"][0] is ProblemKind.SPECIAL_FILE
    assert all(
        kind is ProblemKind.BAD_LINK for path, (kind, _) in details.items() if "null" not in path
    )
    assert "leads back" in details["a/loop"][1]
    assert "leaves the folder" in details["far"][1]
    assert "second path" in details["alias"][1]


def test_the_scanned_folder_may_be_a_link(tmp_path: Path) -> None:
    good_folder(tmp_path / "photos")
    (tmp_path / "link").symlink_to("photos")
    assert len(photos(scan(tmp_path / "link"))) == 9


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder where permissions apply, even if the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "photos"
        root.mkdir()
        Path(name).chmod(0o755)
        is_root = os.geteuid() == 0
        good_folder(root)
        scan(root)  # so that lazy imports happen before the permissions change
        if is_root:
            os.seteuid(65534)
        try:
            yield root
        finally:
            if is_root:
                os.seteuid(0)
            for path in Path(name).rglob("*"):
                path.chmod(0o755)


def as_owner(path: Path, mode: int) -> None:
    euid = os.geteuid()
    os.seteuid(path.stat().st_uid)
    try:
        path.chmod(mode)
    finally:
        os.seteuid(euid)


def test_unreadable_files_and_folders_are_reported(unprivileged: Path) -> None:
    as_owner(unprivileged / "a" / "0.png", 0)
    as_owner(unprivileged / "b", 0)
    found = scan(unprivileged)
    assert kinds(found) == {
        ProblemKind.UNREADABLE: ["b", "a/0.png"],
        ProblemKind.EMPTY_CLASS: ["b"],
    }
    assert "Permission denied" in found.problems[0].detail
    assert found.classes == ("a", "c")


def test_an_unreadable_root_is_refused(unprivileged: Path) -> None:
    as_owner(unprivileged, 0)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        scan(unprivileged)


def test_read_permission_for_the_folder_is_enough(unprivileged: Path) -> None:
    for path in [unprivileged, *unprivileged.rglob("*")]:
        as_owner(path, 0o555 if path.is_dir() else 0o444)
    assert not scan(unprivileged, strict=True).problems


def test_a_file_that_vanishes_during_the_scan_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good_folder(tmp_path)

    def vanish(path: Path) -> bytes:
        if path.name == "1.png":
            path.unlink()
        return read_bytes(path)

    monkeypatch.setattr("chifoumi_jax.data.folder.decoding.read_bytes", vanish)
    assert kinds(scan(tmp_path)) == {ProblemKind.UNREADABLE: ["a/1.png", "b/1.png", "c/1.png"]}


def test_nothing_is_written_to_the_folder(tmp_path: Path) -> None:
    good_folder(tmp_path)
    write(tmp_path, {f"b/{name}": content for name, (content, _) in BAD_FILES.items()})
    before = snapshot(tmp_path)
    scan(tmp_path, valid_share=0.1)
    assert snapshot(tmp_path) == before


# Bad classes


def test_a_class_without_a_good_picture_is_ignored(tmp_path: Path) -> None:
    good_folder(tmp_path, "ac")
    (tmp_path / "0 empty").mkdir()
    write(tmp_path, {"b/1.png": b"", "d/notes.txt": b"x"})
    found = scan(tmp_path)
    assert found.classes == ("a", "c")
    assert {item.label for item in photos(found)} == {0, 1}
    assert kinds(found)[ProblemKind.EMPTY_CLASS] == ["0 empty", "d", "b"]
    with pytest.raises(DataError, match="empty-class"):
        scan(tmp_path, strict=True)


def test_a_class_only_in_test_does_not_change_other_labels(tmp_path: Path) -> None:
    good_folder(tmp_path, "bc", prefix="train/")
    good_folder(tmp_path, "abcd", prefix="test/")
    good_folder(tmp_path, "ab", prefix="valid/")
    found = scan(tmp_path)
    assert found.classes == ("b", "c")
    for item in photos(found):
        assert found.classes[item.label] == item.path.split("/")[1]
    assert found.counts()["c"] == {"train": 3, "valid": 0, "test": 3}
    strays = [p for p in found.problems if p.kind is ProblemKind.CLASS_NOT_IN_TRAIN]
    assert [p.detail for p in strays] == ["class a", "class d"]
    assert len(strays[0].paths) == 6
    missing = [p for p in found.problems if p.kind is ProblemKind.CLASS_MISSING]
    assert [(p.paths, p.detail) for p in missing] == [(("c",), "none in valid")]


def test_a_class_whose_training_photos_are_all_bad(tmp_path: Path) -> None:
    good_folder(tmp_path, "bc", prefix="train/")
    good_folder(tmp_path, "abc", prefix="test/")
    write(tmp_path, {"train/a/1.png": b"x"})
    found = scan(tmp_path)
    assert found.classes == ("b", "c")
    assert kinds(found) == {
        ProblemKind.NOT_AN_IMAGE: ["train/a/1.png"],
        ProblemKind.EMPTY_CLASS: ["train/a"],
        ProblemKind.CLASS_NOT_IN_TRAIN: [f"test/a/{i}.png" for i in range(3)],
    }


def test_a_class_of_one_photo_cannot_be_tested(tmp_path: Path) -> None:
    good_folder(tmp_path, "ab")
    write(tmp_path, {"c/1.png": photo(80)})
    found = scan(tmp_path)
    assert found.counts()["c"] == {"train": 1, "valid": 0, "test": 0}
    assert kinds(found) == {ProblemKind.CLASS_MISSING: ["c"]}


# A model's classes


def test_known_classes_keep_their_labels(tmp_path: Path) -> None:
    good_folder(tmp_path, "ac", prefix="test/")
    found = scan(tmp_path, classes=["c", "b", "a"], test_share=0.5, valid_share=0.2)
    assert found.classes == ("c", "b", "a")
    assert found.counts() == {
        "c": {"train": 0, "valid": 0, "test": 3},
        "b": {"train": 0, "valid": 0, "test": 0},
        "a": {"train": 0, "valid": 0, "test": 3},
    }
    assert all(found.classes[item.label] == item.path[5] for item in found.test)
    assert kinds(found) == {ProblemKind.CLASS_MISSING: ["b"]}


def test_with_known_classes_no_validation_photos_are_taken(tmp_path: Path) -> None:
    good_folder(tmp_path, "a")
    write(tmp_path, {"x/1.png": photo(80), "y/1.png": b"bad"})
    found = scan(tmp_path, classes=["a"], valid_share=0.2)
    assert found.counts() == {"a": {"train": 3, "valid": 0, "test": 0}}
    assert kinds(found) == {ProblemKind.UNKNOWN_CLASS: ["x/1.png", "y/1.png"]}


@pytest.mark.parametrize("content", [photo(1), b"bad"])
def test_a_folder_without_a_photo_of_the_known_classes_is_refused(
    tmp_path: Path, content: bytes
) -> None:
    write(tmp_path, {"a/1.png" if content == b"bad" else "x/1.png": content})
    with pytest.raises(DataError, match=r"no photos of the model's classes \(a, b\); expected"):
        scan(tmp_path, classes=("a", "b"))


# Duplicates


def test_duplicates_are_reported(tmp_path: Path) -> None:
    good_folder(tmp_path, prefix="train/")
    good_folder(tmp_path, prefix="test/")
    write(
        tmp_path,
        {
            **dict.fromkeys(("train/a/leak.png", "test/a/other name.png"), photo(80)),
            **dict.fromkeys(("train/a/both.png", "train/b/both.png"), photo(81)),
            **dict.fromkeys(("train/c/x.png", "train/c/y.png", "train/c/z.png"), photo(82)),
            **dict.fromkeys(("train/a/worst.png", "test/b/worst.png"), photo(83)),
        },
    )
    found = scan(tmp_path)
    assert kinds(found) == {
        ProblemKind.LEAKAGE: [
            *("train/a/leak.png", "test/a/other name.png"),
            *("train/a/worst.png", "test/b/worst.png"),
        ],
        ProblemKind.LABEL_CONFLICT: [
            *("train/a/both.png", "train/b/both.png"),
            *("train/a/worst.png", "test/b/worst.png"),
        ],
        ProblemKind.DUPLICATE: ["train/c/x.png", "train/c/y.png", "train/c/z.png"],
    }
    assert {path for p in found.problems for path in p.paths} <= paths(found)
    with pytest.raises(DataError, match=r"4 problems \(label-conflict, leakage\)"):
        scan(tmp_path, strict=True)


@pytest.mark.parametrize("seed", range(8))
def test_an_automatic_split_keeps_duplicates_in_one_split(tmp_path: Path, seed: int) -> None:
    good_folder(tmp_path, "ab", photos=4)
    write(tmp_path, {f"{c}/copy {i}.png": photo(i) for c in "ab" for i in (0, 1)})
    found = scan(tmp_path, seed=seed, test_share=0.4, valid_share=0.2)
    assert ProblemKind.LEAKAGE not in kinds(found)
    assert len(photos(found)) == 12


# Decoding once, in threads


def test_each_file_is_decoded_exactly_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good_folder(tmp_path, photos=8)
    write(tmp_path, {"a/bad.png": photo(80)[:-100], "b/copy.png": photo(0)})
    decoded: Counter[str] = Counter()
    lock = threading.Lock()

    def count(content: bytes, name: str, **options: Any) -> Image.Image:
        with lock:
            decoded[name] += 1
        return decode(content, name, **options)

    monkeypatch.setattr("chifoumi_jax.data.folder.decoding.decode", count)
    seen: list[str] = []
    found = scan(tmp_path, on_image=lambda digest, _: seen.append(digest), valid_share=0.2)
    assert decoded == dict.fromkeys(paths(found) | {"a/bad.png"}, 1)
    assert sorted(seen) == sorted(item.sha256 for item in photos(found))


def test_files_that_are_not_listed_are_not_decoded(tmp_path: Path) -> None:
    good_folder(tmp_path)
    for name, items in (("train", "a/0.png b/0.png"), ("test", "a/1.png")):
        (tmp_path / name).write_text("\n".join(items.split()))
    (tmp_path / "b" / "1.png").write_bytes(b"broken")
    seen: list[str] = []
    found = scan(
        tmp_path,
        train_list=tmp_path / "train",
        test_list=tmp_path / "test",
        on_image=lambda digest, _: seen.append(digest),
    )
    assert len(seen) == len(photos(found)) == 3


def test_on_image_gets_the_decoded_picture(tmp_path: Path) -> None:
    good_folder(tmp_path)
    pixels: dict[str, np.ndarray] = {}
    found = scan(tmp_path, on_image=lambda key, image: pixels.update({key: np.asarray(image)}))
    for item in photos(found):
        with Image.open(tmp_path / item.path) as expected:
            np.testing.assert_array_equal(pixels[item.sha256], expected)


@pytest.mark.parametrize("workers", [1, 3])
def test_at_most_one_picture_per_worker_is_in_memory(tmp_path: Path, workers: int) -> None:
    good_folder(tmp_path, photos=20)
    pictures: list[weakref.ref[Image.Image]] = []
    alive: list[int] = []
    barrier, lock = threading.Barrier(workers), threading.Lock()

    def count(key: str, image: Image.Image) -> None:
        with lock:
            pictures.append(weakref.ref(image))
        barrier.wait(timeout=30)
        alive.append(sum(picture() is not None for picture in pictures))
        barrier.wait(timeout=30)

    scan(tmp_path, workers=workers, on_image=count)
    assert set(alive) == {workers}


def test_on_image_may_refuse_a_picture(tmp_path: Path) -> None:
    good_folder(tmp_path)
    first = scan(tmp_path).train[0]

    def refuse(key: str, image: Image.Image) -> None:
        if key == first.sha256:
            raise ImageProblem(ProblemKind.UNSUPPORTED, "", "too blue")

    found = scan(tmp_path, on_image=refuse)
    assert kinds(found) == {ProblemKind.UNSUPPORTED: [first.path]}
    assert found.problems[0].detail == "too blue"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_any_other_error_of_on_image_ends_the_scan(tmp_path: Path, error: BaseException) -> None:
    good_folder(tmp_path, photos=50)
    calls: list[str] = []

    def fail(key: str, image: Image.Image) -> None:
        calls.append(key)
        raise error

    with pytest.raises(type(error)):
        scan(tmp_path, on_image=fail, workers=1)
    assert len(calls) < 150


def test_an_interrupted_scan_stops(tmp_path: Path) -> None:
    good_folder(tmp_path, photos=50)
    calls: list[str] = []

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(tmp_path, progress=interrupt, on_image=lambda key, _: calls.append(key), workers=1)
    assert len(calls) < 150


def test_progress_counts_every_file(tmp_path: Path) -> None:
    good_folder(tmp_path)
    write(tmp_path, {"a/bad.png": b""})
    steps: list[tuple[int, int]] = []
    scan(tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(i, 10) for i in range(1, 11)]


# The fingerprint


def test_the_fingerprint_depends_on_the_data_alone(tmp_path: Path) -> None:
    one = scan(good_folder(tmp_path / "one", photos=9))
    same = scan(good_folder(tmp_path / "elsewhere" / "two", photos=9), workers=1)
    assert one.fingerprint == same.fingerprint
    others = {
        scan(tmp_path / "one", seed=1).fingerprint,
        scan(tmp_path / "one", test_share=0.3).fingerprint,
        scan(write(tmp_path / "one", {"a/0.png": photo(99)})).fingerprint,
    }
    (tmp_path / "one" / "a" / "0.png").rename(tmp_path / "one" / "a" / "renamed.png")
    others.add(scan(tmp_path / "one").fingerprint)
    (tmp_path / "one" / "c").rename(tmp_path / "one" / "d")
    others.add(scan(tmp_path / "one").fingerprint)
    assert len(others | {one.fingerprint}) == 6


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_the_fingerprint_depends_on_every_split(tmp_path: Path, split: str) -> None:
    for name in ("train", "valid", "test"):
        good_folder(tmp_path, "ab", photos=1, prefix=f"{name}/")
    before = scan(tmp_path).fingerprint
    path = tmp_path / split / "a" / "0.png"
    content = path.read_bytes()
    path.write_bytes(photo(99))
    assert scan(tmp_path).fingerprint != before
    path.write_bytes(content)
    assert scan(tmp_path).fingerprint == before
    path.rename(path.with_name("1.png"))
    assert scan(tmp_path).fingerprint != before


# Reports


def test_every_kind_has_a_title_and_a_remedy() -> None:
    assert MEANINGS.keys() == set(ProblemKind)
    for title, _, remedy in MEANINGS.values():
        assert title and remedy


def test_a_report_has_count_examples_and_remedy() -> None:
    bad = [Problem(ProblemKind.DAMAGED, (f"a/{i}.jpg",), "cut") for i in range(5)]
    twice = Problem(ProblemKind.DUPLICATE, tuple(f"b/{i}.jpg" for i in range(9)))
    assert describe([twice, *bad]) == [
        "5 × truncated or corrupt picture, left out: a/0.jpg (cut), a/1.jpg (cut), "
        "a/2.jpg (cut), … → copy it again from its source",
        "1 × same picture twice in one class, kept: b/0.jpg = b/1.jpg = b/2.jpg = … (9 in all) "
        "→ remove the copies if they are not intended",
    ]
    assert describe([]) == []


def test_paths_are_escaped_for_printing() -> None:
    assert printable("été/手 1.jpg") == "été/手 1.jpg"
    assert printable("a\n\x1b[31m\u202e\udcff.jpg") == r"a\n\x1b[31m\u202e\udcff.jpg"


@settings(deadline=None)
@given(st.text())
def test_printable_text_has_only_printable_characters(text: str) -> None:
    assert printable(text).isprintable()
    printable(text).encode()


# Arbitrary bytes


@pytest.mark.parametrize("suffix", FORMATS)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_damaged_files_never_stop_a_scan(suffix: str, data: st.DataObject) -> None:
    whole = photo(50, suffix)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    middle = data.draw(st.binary(max_size=8))
    with tempfile.TemporaryDirectory() as name:
        root = good_folder(Path(name), "ab", photos=1)
        write(root, {f"a/x.{suffix}": whole[:start] + middle + whole[end:]})
        found = scan(
            root,
            test_share=0,
            workers=1,
            on_image=lambda _, image: to_rgb(image, upright=True),
            max_pixels=10**6,
        )
    reported = {path for problem in found.problems for path in problem.paths}
    assert (f"a/x.{suffix}" in reported) != (f"a/x.{suffix}" in paths(found))
    assert {"a/0.png", "b/0.png"} <= paths(found)


def test_class_names_that_differ_in_case_are_reported(tmp_path: Path) -> None:
    good_folder(tmp_path)
    write(tmp_path, {"A/1.png": photo(91), "A/2.png": photo(92), "A/3.png": photo(93)})
    found = scan(tmp_path)
    assert found.classes == ("A", "a", "b", "c")
    assert [p.paths for p in found.problems if p.kind is ProblemKind.SIMILAR_CLASSES] == [
        ("A", "a")
    ]
