"""The command line in a process of its own, as a user starts it."""

import os
import subprocess
import sys
from pathlib import Path

# A training that takes seconds: an image of 24 × 24 pixels is almost the CNN's smallest.
QUICK = ("--image-size", "24", "--learning-rate", "2e-3")


def environment(**changes: str) -> dict[str, str]:
    """This process' environment with changes."""
    return os.environ | changes


def chifoumi(
    *arguments: str | Path, cwd: Path | None = None, stdin: str | None = None, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run `chifoumi` with these arguments to its end; with what it is to read, if anything."""
    return subprocess.run(
        [sys.executable, "-m", "chifoumi_jax.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        input=stdin,
        cwd=cwd,
        env=environment(**changes),
        timeout=300,
    )
