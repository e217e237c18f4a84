"""The files, folders, patterns and standard input that a user may name for classification."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chifoumi_jax.errors import RecipeError
from chifoumi_jax.prediction.inputs import Input, expand
from tests.photos import photo, write

NO_STDIN = io.BytesIO()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    files = {
        "b.png": photo(1),
        "a.JPG": photo(2),
        "sub/deep/c.webp": photo(3),
        "sub/notes.txt": b"text",
        "sub/.hidden.png": photo(4),
        "x[1].png": photo(5),
        "x1.png": photo(6),
    }
    write(tmp_path / "p", files)
    (tmp_path / "empty").mkdir()
    return tmp_path


def names(*arguments: str, stdin: bytes = b"") -> list[str]:
    found = expand(list(map(Path, arguments)), io.BytesIO(stdin))
    return [f"! {one.problem}" if one.problem else one.name for one in found]


def test_a_folder_means_all_its_pictures(here: Path) -> None:
    pictures = ["p/a.JPG", "p/b.png", "p/sub/deep/c.webp", "p/x1.png", "p/x[1].png"]
    assert names("p") == pictures
    assert names("p/sub", "p/b.png") == ["p/sub/deep/c.webp", "p/b.png"]
    assert names("p/sub/notes.txt") == ["p/sub/notes.txt"]
    assert [one.folder for one in expand([Path("p/sub"), Path("p/b.png")], NO_STDIN)] == [
        "p/sub",
        "",
    ]
    assert names(str(here / "p" / "sub")) == [str(here / "p/sub/deep/c.webp")]


def test_a_pattern_means_the_files_it_matches(here: Path) -> None:
    assert names("p/*.png") == ["p/b.png", "p/x1.png", "p/x[1].png"]
    assert names("p/**/*.webp") == ["p/sub/deep/c.webp"]
    assert names("p/?.png", str(here / "p" / "b.*")) == ["p/b.png", str(here / "p/b.png")]
    # A folder that a pattern matches is expanded like any folder.
    assert names("p/s*") == ["p/sub/deep/c.webp"]
    assert f"../{here.name}/p/b.png" in names(f"../{here.name[:-1]}*/p/b.png")


def test_files_of_a_pattern_over_several_folders_get_the_common_parent(here: Path) -> None:
    def folders(pattern: str) -> set[str]:
        return {one.folder for one in expand([Path(pattern)], NO_STDIN)}

    assert folders("p/**/*.[pw]*") == {"p"}
    assert folders("p/*.png") == {""}
    assert folders(f"../{here.name}/p/*.png") == {""}


def test_an_impossible_file_name_is_reported_and_does_not_stop_the_rest(here: Path) -> None:
    found = names("a" * 300 + ".png", "p/b.png")
    assert found[1:] == ["p/b.png"]
    assert found[0].startswith("! aaa") and "too long" in found[0]


def test_an_existing_file_is_not_taken_for_a_pattern(here: Path) -> None:
    assert names("p/x[1].png") == ["p/x[1].png"]
    (here / "p" / "x[1].png").unlink()
    assert names("p/x[1].png") == ["p/x1.png"]


def test_missing_files_are_reported_and_do_not_stop_the_rest(here: Path) -> None:
    assert names("empty", "absent.png", "q*.png", "a**b", "p/b.png") == [
        "! empty holds no picture",
        "! absent.png: there is no such file or folder",
        "! q*.png matches no picture",
        names("a**b")[0],
        "p/b.png",
    ]
    assert names("a**b")[0].startswith("! a**b ")


def test_a_pipe_in_a_folder_is_reported(here: Path) -> None:
    os.mkfifo(here / "p" / "pipe.png")
    (problem,) = (name for name in names("p") if name.startswith("!"))
    assert problem.startswith("! p/pipe.png")


def test_cyclic_links_are_not_followed_forever(here: Path) -> None:
    (here / "p" / "sub" / "up").symlink_to(here / "p")
    found = names("p/sub")
    assert found[0] == "p/sub/deep/c.webp"
    assert found[1].startswith("! p/sub/up: leads back")
    assert names("p/**/*.webp") == ["p/sub/deep/c.webp"]


def test_an_unreadable_folder_is_reported(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("chifoumi_jax.prediction.inputs.walk", refuse)
    assert names("p", "p/b.png") == ["! p cannot be read: permission denied", "p/b.png"]


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_standard_input_may_be_a_list(here: Path, end: str) -> None:
    listed = f"p/b.png{end or chr(10)}{end}p/sub{end}".encode()
    assert names("-", stdin=listed) == ["p/b.png", "p/sub/deep/c.webp"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif", "avif"])
def test_standard_input_may_be_a_picture(suffix: str) -> None:
    content = photo(1, suffix)
    assert expand([Path("-")], io.BytesIO(content)) == [Input("-", content)]


def test_a_list_may_begin_with_a_picture_signature(here: Path) -> None:
    write(here, {"BMé/1.png": photo(1)})
    assert names("-", stdin="BMé/1.png\n".encode()) == ["BMé/1.png"]


def test_names_that_are_not_utf_8_are_kept(here: Path) -> None:
    path = os.fsencode(here) + b"/p/\xff.png"
    with open(path, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write(photo(8))
    (found,) = expand([Path("-")], io.BytesIO(path))
    assert not found.problem and os.fsencode(found.name) == path
    assert "p/\udcff.png" in names("p")


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (["-", "a.png"], b"", "must be the only name"),
        (["-"], b"", "empty"),
        (["-"], b" \n\n", "empty"),
        (["-"], b"\0\1\2", "neither"),
    ],
)
def test_unusable_standard_input_is_refused(
    arguments: list[str], stdin: bytes, sentence: str
) -> None:
    with pytest.raises(RecipeError, match=sentence):
        names(*arguments, stdin=stdin)


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_of_any_name_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name in (".", "..") or len(name.encode()) > 255:
        return
    path.write_bytes(b"x")
    assert expand([path], NO_STDIN) == [Input(str(path))]
    path.unlink()
