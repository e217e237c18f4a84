"""The programs accept the commands that the documentation shows."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from chifoumi_jax.cli import COMMANDS

ROOT = Path(__file__).parents[1]
CARD = ROOT / "chifoumi_jax" / "builtin" / "CARD.md"
PAGES = (ROOT / "README.md", CARD, *sorted((ROOT / "docs").glob("*.md")))
PROGRAMS = r"chifoumi (?!-)|python3? -m (?:benchmarks|chifoumi_jax|parity|reference)"
# An option that no program has, so that each stops after it has parsed its arguments.
UNKNOWN = "--no-such-option"


def commands() -> list[str]:
    """The commands of all pages that call one of the project's programs.

    They are the commands in fenced blocks, without a prompt or other text before them, and
    `python -m` with options in sentences. In sentences `chifoumi` is left out, because its
    arguments there are words like RUN.
    """
    texts = [page.read_text().replace("\\\n", " ") for page in PAGES]
    blocks = [block for text in texts for block in re.findall(r"(?ms)^```\w*\n(.*?)^```", text)]
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [
        code for text in texts for code in re.findall(r"`(python -m [^`\n]+ --[^`\n]+)`", text)
    ]
    matches = [re.search(rf"(?:^|\s)((?:{PROGRAMS}).*)", line) for line in lines]
    return [match[1] for match in matches if match]


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_the_program_accepts_the_command(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *words = shlex.split(command, comments=True)
    module, words = ("chifoumi_jax.cli", words) if program == "chifoumi" else (words[1], words[2:])
    monkeypatch.setattr(sys, "argv", [module, *words, UNKNOWN])
    # The module must run again, even if it was imported before.
    for name in (module, f"{module}.__main__"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    errors = " ".join(re.findall(r"[\w./:=$-]+", capsys.readouterr().err))
    assert stopped.value.code == 2
    assert re.search(rf"unrecognized (?:options|arguments): {UNKNOWN}", errors, re.IGNORECASE)


def test_many_and_different_commands_are_found() -> None:
    assert len(commands()) > 20
    assert {"train", "predict", "play"} <= {each.split()[1] for each in commands()}


def test_the_table_of_commands_is_complete() -> None:
    rows = re.findall(r"(?m)^\| `chifoumi (\w+)", (ROOT / "docs" / "photos.md").read_text())
    assert {command.__name__ for command in COMMANDS} == set(rows)
