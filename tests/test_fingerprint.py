import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chifoumi_jax.fingerprint import computed, cpp_without_comments, fingerprint, syntax
from parity import equivalence
from parity.equivalence import code_fingerprint

PACKAGES = frozenset({"project"})

SOURCE = '''"""What it is."""

from typing import TYPE_CHECKING

from project.room import helper

if TYPE_CHECKING:
    from project.other import Kind

__all__ = ["rate"]
LIMIT = 3  # a comment
"""An attribute's docstring."""


class Settings:
    """A docstring."""

    decay: float = 0.9


def rate(step: int, decay: "Kind") -> float:
    """Docstring."""
    if step < 0:
        raise ValueError(f"{step} is negative")
    # Why.
    return helper(decay) * LIMIT - step
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("What it is.", "Another sentence."),
        ("  # a comment", ""),
        ("    # Why.\n", "\n\n"),
        ('    """Docstring."""\n', ""),
        ("An attribute's docstring.", "Words."),
        ("from project.room import helper", "from project.attic.box import helper"),
        ("from project.other import Kind", "from project.room import Kind"),
        ('"Kind"', '"Sort"'),
        ("-> float", "-> int"),
        ('["rate"]', '["LIMIT", "rate"]'),
        ("is negative", "must be 0 or more"),
        ("helper(decay) * LIMIT - step", "(\n        helper(decay)\n        * LIMIT - step\n    )"),
    ],
)
def test_comments_types_and_locations_do_not_change_the_fingerprint(old: str, new: str) -> None:
    assert old in SOURCE
    assert syntax(SOURCE.replace(old, new), PACKAGES) == syntax(SOURCE, PACKAGES)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("0.9", "0.99"),
        ("* LIMIT", "+ LIMIT"),
        ("step < 0", "step <= 0"),
        ("ValueError", "TypeError"),
        ("helper(decay)", "decay"),
        ("import helper", "import assistant as helper"),
        ("from typing import TYPE_CHECKING", "from mypy import TYPE_CHECKING"),
        ("rate(step", "rate(number"),
    ],
)
def test_changed_computations_change_the_fingerprint(old: str, new: str) -> None:
    assert old in SOURCE
    assert syntax(SOURCE.replace(old, new), PACKAGES) != syntax(SOURCE, PACKAGES)


def test_cpp_comments_do_not_change_the_fingerprint() -> None:
    source = '#define A 1\n/* one\n two */ float f(float x) { return x * 2; } // "three\n'
    plain = "#define A 1\n\nfloat f(float x)   { return x * 2; }\n"
    assert cpp_without_comments(source) == cpp_without_comments(plain)
    assert cpp_without_comments(source) != cpp_without_comments(plain.replace("2", "3"))
    assert cpp_without_comments(source) != cpp_without_comments(plain.replace("A 1\n\n", "A 1 "))


@given(st.text(st.characters(exclude_characters='"\\\n\r', codec="utf-8")))
def test_a_cpp_string_is_not_a_comment(text: str) -> None:
    # Python's `splitlines` also splits at Unicode line breaks, which C++ does not know.
    words = " ".join(text.split())
    source = f'auto text = "{words}";'
    assert cpp_without_comments(source + " // comment") == source


def _files(root: Path) -> Iterator[Path]:
    yield from equivalence._files(root)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for path in _files(equivalence.ROOT):
        target = tmp_path / path.relative_to(equivalence.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return tmp_path


def test_the_result_stays_valid_when_comments_change_and_files_move(checkout: Path) -> None:
    expected = code_fingerprint()
    assert code_fingerprint(checkout) == expected
    moved = checkout / "elsewhere"
    moved.mkdir()
    for number, path in enumerate(_files(checkout)):
        comment = "//" if path.suffix in {".cc", ".h"} else "#"
        text = f"{path.read_text()}\n{comment} A comment, changed.\n"
        text = re.sub(r"from (chifoumi_jax|reference)[.\w]* import", r"from \1.attic import", text)
        (moved / f"{number}{path.suffix}").write_text(text)
    (moved / "__init__.py").write_text('"""All files."""\n')
    found = fingerprint(
        moved.iterdir(), equivalence._PACKAGES, equivalence.recipe_values(equivalence.SETTINGS)
    )
    assert found == expected


def test_one_changed_number_makes_the_result_invalid(checkout: Path) -> None:
    unchanged, own = code_fingerprint(), frozenset(equivalence._PACKAGES)
    changed = 0
    for path in _files(checkout):
        text = path.read_text()
        if number := _first_number(path, text):
            before = computed(path, own)
            start, end = number
            path.write_text(f"{text[:start]}7{text[start:end]}{text[end:]}")
            assert computed(path, own) != before, path
            changed += 1
    assert changed > 20
    assert code_fingerprint(checkout) != unchanged


def _first_number(path: Path, text: str) -> tuple[int, int] | None:
    """Start and end of the first number in a source file that is part of a computation."""
    if path.suffix != ".py":
        found = re.search(r"(?m)^[^/\n\"]*?\b(\d+)\b", text)
        return found.span(1) if found else None
    lines = text.splitlines(keepends=True)
    tree = ast.parse(text)
    ignored = {
        id(inner)
        for node in ast.walk(tree)
        for part in ([node] if isinstance(node, ast.Raise) else [getattr(node, "annotation", None)])
        + [getattr(node, "returns", None)]
        if part is not None
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and type(node.value) in (int, float)
            and id(node) not in ignored
        ):
            assert node.end_col_offset is not None
            before = len("".join(lines[: node.lineno - 1]))
            line = lines[node.lineno - 1].encode()
            start = before + len(line[: node.col_offset].decode())
            return start, before + len(line[: node.end_col_offset].decode())
    return None


def test_a_changed_setting_or_recipe_makes_the_result_invalid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unchanged = code_fingerprint()
    monkeypatch.setattr(equivalence, "SETTINGS", {**equivalence.SETTINGS, "epochs": 11})
    assert code_fingerprint() != unchanged
