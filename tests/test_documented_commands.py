"""The commands in the documentation are understood by the programs that they name."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CARD = ROOT / "chifoumi_jax" / "builtin" / "CARD.md"
PAGES = (ROOT / "README.md", CARD, *sorted((ROOT / "docs").glob("*.md")))
PROGRAMS = r"chifoumi (?!-)|python3? -m (?:benchmarks|chifoumi_jax|parity|reference)"
# An option that no program has, so that none begins with what it was asked for.
UNKNOWN = "--no-such-option"


def commands() -> list[str]:
    """Every line of a fenced block that calls one of our programs, without what is around it.

    And what a sentence calls as a module, with options; `chifoumi` stands there before words like
    RUN.
    """
    texts = [page.read_text().replace("\\\n", " ") for page in PAGES]
    blocks = [block for text in texts for block in re.findall(r"(?ms)^```\w*\n(.*?)^```", text)]
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [
        code for text in texts for code in re.findall(r"`(python -m [^`\n]+ --[^`\n]+)`", text)
    ]
    found = [re.search(rf"(?:^|\s)((?:{PROGRAMS}).*)", line) for line in lines]
    return [command[1] for command in found if command]


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_is_understood(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *words = shlex.split(command, comments=True)
    module, words = ("chifoumi_jax.cli", words) if program == "chifoumi" else (words[1], words[2:])
    monkeypatch.setattr(sys, "argv", [module, *words, UNKNOWN])
    # It runs anew, whatever was imported before.
    for name in (module, f"{module}.__main__"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    said = " ".join(re.findall(r"[\w./:=$-]+", capsys.readouterr().err))
    assert stopped.value.code == 2
    assert re.search(rf"unrecognized (?:options|arguments): {UNKNOWN}", said, re.IGNORECASE)


def test_there_are_commands_of_every_kind() -> None:
    assert len(commands()) > 20
    assert {"train", "predict", "play"} <= {each.split()[1] for each in commands()}
