"""The guide's code, run as it stands, in an empty folder."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def _blocks() -> Iterator[tuple[str, str]]:
    for found in _BLOCK.finditer((ROOT / "docs/porting.md").read_text(encoding="utf-8")):
        yield found.group(1), found.group(2)


def _run(command: str, folder: Path) -> str:
    """Standard output of one line; Python is the one that runs the tests."""
    words = command.split()
    assert words[0] == "python", f"the guide runs {command}: what runs it here?"
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _said(output: str) -> list[str]:
    """Its last line, its first fault and its mapping; numbers differ between machines."""
    lines = [_NUMBER.sub("#", " ".join(line.split())) for line in output.strip().splitlines()]
    told = [line for line in lines if line.startswith("first fault") or "." in line.split(" ")[0]]
    return [*told, lines[-1]]


def test_every_block_runs_in_order_and_says_what_the_guide_shows(tmp_path: Path) -> None:
    output, shown = "", 0
    for language, text in _blocks():
        if language == "python":
            name = text.partition("\n")[0].removeprefix("# ")
            assert re.fullmatch(r"\w+\.py", name), f"a block does not begin with its file: {name}"
            (tmp_path / name).write_text(text, encoding="utf-8")
        elif language == "sh":
            for command in text.strip().splitlines():
                if not command.startswith("pip install"):
                    output = _run(command, tmp_path)
        else:
            assert language == "text"
            assert _said(output) == _said(text)
            shown += 1
    assert shown == 3
    assert "1 passed" in output
