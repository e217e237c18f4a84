"""Runs the code of the guide docs/porting.md, unchanged, in an empty folder."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.commands import run_code, run_module

ROOT = Path(__file__).parent.parent
# What the guide's files import; each import takes seconds.
IMPORTED = ("torch", "flax.nnx", "parity.port")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def _blocks() -> Iterator[tuple[str, str]]:
    for found in _BLOCK.finditer((ROOT / "docs/porting.md").read_text(encoding="utf-8")):
        yield found.group(1), found.group(2)


def _run(command: str, folder: Path) -> str:
    """Standard output of one command, run with the Python of the tests."""
    python, *words = command.split()
    assert python == "python", f"the guide runs {command}: the test can only run python"
    if words[0] == "-m":
        done = run_module(*words[1:], cwd=folder, modules=IMPORTED)
    else:
        script = f"import runpy; runpy.run_path({words[0]!r}, run_name='__main__')"
        done = run_code(script, *words[1:], cwd=folder, modules=IMPORTED)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _comparable(output: str) -> list[str]:
    """The first fault, the mapping and the last line, without numbers, which differ by machine."""
    lines = [_NUMBER.sub("#", " ".join(line.split())) for line in output.strip().splitlines()]
    kept = [line for line in lines if line.startswith("first fault") or "." in line.split(" ")[0]]
    return [*kept, lines[-1]]


def test_every_block_runs_in_order_and_prints_the_output_in_the_guide(tmp_path: Path) -> None:
    output, shown = "", 0
    for language, text in _blocks():
        if language == "python":
            name = text.partition("\n")[0].removeprefix("# ")
            assert re.fullmatch(r"\w+\.py", name), (
                f"a block does not begin with its file name: {name}"
            )
            (tmp_path / name).write_text(text, encoding="utf-8")
        elif language == "sh":
            for command in text.strip().splitlines():
                if not command.startswith("pip install"):
                    output = _run(command, tmp_path)
        else:
            assert language == "text"
            assert _comparable(output) == _comparable(text)
            shown += 1
    assert shown == 3
    assert "1 passed" in output
