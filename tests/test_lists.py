"""File lists and tables of sessions: what they select, and which errors are reported."""

import os
from pathlib import Path

import pytest

from chifoumi_jax.data.folder import lists
from chifoumi_jax.data.folder.lists import read_groups, read_list
from chifoumi_jax.data.folder.scanning import Scan, scan
from chifoumi_jax.data.problems import DataError, ProblemKind
from tests.photos import good_folder, photo, write


def listing(root: Path, name: str, *lines: str) -> Path:
    """A list beside the folder of photos."""
    file = root.parent / f"{name}.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`train`, `valid` and `test` with two classes of three photos."""
    for split in ("train", "valid", "test"):
        good_folder(tmp_path / "photos", "ab", prefix=f"{split}/")
    return tmp_path / "photos"


def names(found: Scan, split: str) -> list[str]:
    return [item.path for item in getattr(found, split)]


def test_both_lists_define_the_splits(folder: Path) -> None:
    train = listing(folder, "train", "# chosen", "", "train/b/2.png", "  ", "train/a/0.png\r")
    test = listing(folder, "test", "test/a/1.png", "./test/b//1.png")
    found = scan(folder, train_list=train, test_list=test)
    assert names(found, "train") == ["train/a/0.png", "train/b/2.png"]
    assert names(found, "test") == ["test/a/1.png", "test/b/1.png"]
    assert len(found.valid) == 6
    assert not found.problems


def test_with_a_train_list_the_test_folder_is_still_used(folder: Path) -> None:
    train = listing(folder, "train", "train/a/0.png", "train/b/0.png", "test/a/0.png")
    found = scan(folder, train_list=train)
    assert len(found.train) == 3
    assert names(found, "test") == [f"test/{p}.png" for p in ("a/1", "a/2", "b/0", "b/1", "b/2")]


def test_with_a_test_list_the_train_folder_is_still_used(folder: Path) -> None:
    found = scan(folder, test_list=listing(folder, "test", "train/a/0.png", "valid/b/1.png"))
    assert names(found, "test") == ["train/a/0.png", "valid/b/1.png"]
    assert len(found.train) == len(found.valid) == 5


def test_without_split_folders_unlisted_files_form_the_other_split(tmp_path: Path) -> None:
    root = good_folder(tmp_path / "photos", "ab")
    some = listing(root, "some", "a/0.png", "b/1.png")
    chosen, rest = ["a/0.png", "b/1.png"], ["a/1.png", "a/2.png", "b/0.png", "b/2.png"]
    found = scan(root, train_list=some)
    assert (names(found, "train"), names(found, "test")) == (chosen, rest)
    found = scan(root, test_list=some)
    assert (names(found, "train"), names(found, "test")) == (rest, chosen)


def test_validation_photos_are_taken_from_the_train_list(tmp_path: Path) -> None:
    root = good_folder(tmp_path / "photos", "ab", photos=6)
    train = listing(root, "train", *(f"{c}/{i}.png" for c in "ab" for i in range(4)))
    found = scan(root, train_list=train, valid_share=0.25)
    assert found.counts() == {key: {"train": 3, "valid": 1, "test": 2} for key in "ab"}
    assert {int(path[2]) for path in names(found, "valid")} <= {0, 1, 2, 3}


def test_the_classes_come_from_the_train_list(folder: Path) -> None:
    good_folder(folder, "c", prefix="train/")
    good_folder(folder, "c", prefix="test/")
    train = listing(folder, "train", "train/c/0.png", "train/b/0.png")
    found = scan(folder, train_list=train)
    assert found.classes == ("b", "c")
    assert {p.kind for p in found.problems} >= {ProblemKind.CLASS_NOT_IN_TRAIN}
    for item in (*found.train, *found.test):
        assert found.classes[item.label] == item.path.split("/")[1]


def test_with_both_lists_only_their_files_are_reported(folder: Path) -> None:
    write(folder, {"train/a/notes.txt": b"x", "train/a/bad.png": b"", "valid/a/x.txt": b"x"})
    train = listing(folder, "train", "train/a/0.png", "train/b/0.png")
    test = listing(folder, "test", "test/a/0.png", "test/b/0.png")
    problems = scan(folder, train_list=train, test_list=test).problems
    assert [p.paths for p in problems] == [("valid/a/x.txt",)]
    train = listing(folder, "train", "train/a/0.png", "train/b/0.png", "train/a/bad.png")
    problems = scan(folder, train_list=train, test_list=test).problems
    assert [p.paths for p in problems] == [("valid/a/x.txt",), ("train/a/bad.png",)]


def test_a_listed_file_with_a_reported_problem_is_no_error(folder: Path) -> None:
    write(folder, {"train/a/notes.txt": b"x"})
    os.mkfifo(folder / "train" / "a" / "pipe.png")
    lines = ["train/a/0.png", "train/b/0.png", "train/a/notes.txt", "train/a/pipe.png"]
    train, test = listing(folder, "train", *lines), listing(folder, "test", "test/a/0.png")
    for test_list in (None, test):
        found = scan(folder, train_list=train, test_list=test_list)
        kinds = {p.kind for p in found.problems} - {ProblemKind.CLASS_MISSING}
        assert kinds == {ProblemKind.UNKNOWN_EXTENSION, ProblemKind.SPECIAL_FILE}
        assert len(found.train) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/etc/passwd", "line 2: /etc/passwd is not a path within"),
        ("C:\\photos\\a.png", "line 2: .* is not a path within"),
        ("../photos/train/a/0.png", "line 2: .* is not a path within"),
        ("train/a/../a/1.png", "line 2: .* is not a path within"),
        ("train/a/none.png", "line 2: the folder has no picture train/a/none.png"),
        ("train/a", "line 2: the folder has no picture train/a$"),
        ("train/a/.hidden.png", "line 2: the folder has no picture"),
        ("train/a/0.png ", "line 2: the folder has no picture"),
        ("\x1b[31m", r"line 2: the folder has no picture \\x1b\[31m"),
        ("train/b/0.png", r"line 2: train/b/0.png is already in line 1"),
        ("./train/b/0.png", r"line 2: train/b/0.png is already in line 1"),
    ],
)
def test_bad_lines_are_refused(folder: Path, line: str, message: str) -> None:
    write(folder, {"train/a/.hidden.png": photo()})
    file = listing(folder, "my list", "train/b/0.png", line)
    for train, test in ((file, None), (None, file)):
        with pytest.raises(DataError, match=message) as caught:
            scan(folder, train_list=train, test_list=test)
        assert "my list.txt" in str(caught.value)


def test_a_path_in_both_lists_is_refused(folder: Path) -> None:
    one = listing(folder, "one", "train/a/0.png", "train/b/0.png")
    two = listing(folder, "two", "train/b/0.png")
    with pytest.raises(DataError, match=r"train/b/0\.png is in both .*one\.txt and .*two\.txt"):
        scan(folder, train_list=one, test_list=two)


def test_bad_list_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "list.txt"
    cases = {
        b"# nothing\n\n": "list.txt names no file",
        "é.png\n".encode("latin-1"): r"list.txt is not UTF-8 \(byte 0\)",
        b"": "list.txt: zero bytes",
    }
    for content, message in cases.items():
        file.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_list(file, lambda path: True)
    with pytest.raises(DataError, match=r"none\.txt: No such file"):
        read_list(tmp_path / "none.txt", lambda path: True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="pipe: not a regular file"):
        read_list(tmp_path / "pipe", lambda path: True)
    monkeypatch.setattr(lists, "MAX_BYTES", 10)
    file.write_bytes(b"x" * 11)
    with pytest.raises(DataError, match="more than 10 bytes"):
        read_list(file, lambda path: True)


def test_a_byte_order_mark_is_not_part_of_a_path(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("été/手.png\n", encoding="utf-8-sig")
    assert read_list(tmp_path / "list", lambda path: True) == ("été/手.png",)
    (tmp_path / "groups").write_text("path,session\né.png,ü\n", encoding="utf-8-sig")
    assert read_groups(tmp_path / "groups") == {"é.png": "ü"}


def test_a_table_of_sessions_is_read(tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    file.write_text('size,session,path\n1,s1,./a/1.png\n2,s2,"b/x, ""y"".png"\n1,s1,a/1.png\n')
    assert read_groups(file) == {"a/1.png": "s1", 'b/x, "y".png': "s2"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "zero bytes"),
        ("a/1.png,s1\n", "the first line must be path,session"),
        ("path;session\na/1.png;s1\n", "commas between them; it is path;session$"),
        ("\n", "it is empty"),
        ("path,session,session\na/1.png,s1,s2\n", "it is path,session,session$"),
        ("path,session\na/1.png, \n", "line 2: expected a path and a session"),
        ("path,session\na/1.png\n", "line 2: expected a path and a session"),
        ("path,session\na/1.png,\n", "line 2: expected a path and a session"),
        ("path,session\n,s1\n", "line 2: expected a path and a session"),
        ("path,session\n/a/1.png,s1\n", "line 2: /a/1.png is not a path within"),
        (
            "path,session\na/1.png,s1\na/1.png,s2\n",
            "line 3: a/1.png is in session s2, but an earlier line puts it in s1",
        ),
        ('path,session\n"a/1.png,s1\n', "not a CSV file"),
        ("path,session\n" + "x" * 200_000 + ",s1\n", "not a CSV file"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "groups.csv"
    file.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_groups(file)
    assert "groups.csv" in str(caught.value)
    file.write_bytes(b"path,session\n\xe9.png,1\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_groups(file)


def test_a_path_that_begins_with_a_hash_can_be_written_with_a_dot(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# chosen\n./#1/0.png\n")
    assert read_list(tmp_path / "list.txt", {"#1/0.png"}.__contains__) == ("#1/0.png",)


def test_white_space_does_not_change_a_session(tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    file.write_text("note, path ,session\n,a/1.png,s1\n\n, a/2.png, s1\n,a/3.png ,\ts1 \n")
    assert read_groups(file) == {"a/1.png": "s1", "a/2.png": "s1", "a/3.png": "s1"}
