"""Commands in a process of their own, as a user starts them."""

import atexit
import functools
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# A training that takes seconds: an image of 24 × 24 pixels is almost the CNN's smallest.
QUICK = ("--image-size", "24", "--learning-rate", "2e-3")

# Seconds, of the slowest.
_PATIENCE = 300
_RUN = "import runpy; runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
_READ_BY_JAX = ("JAX_", "XLA_", "TF_")
# What most of this package's commands import when they run; and, by module, what others do.
_IMPORTED = (
    "chifoumi_jax.cli",
    "chifoumi_jax.convert",
    "chifoumi_jax.training.crossval",
    "chifoumi_jax.export",
    "chifoumi_jax.reports",
    "chifoumi_jax.training.summary",
    "chifoumi_jax.training.fit",
    "jinja2",
    "matplotlib.figure",
    "orbax.checkpoint",
    "scipy.optimize",
    "sklearn.metrics",
)
_IMPORTED_BY = {"reference.torch_mlp": ("reference.torch_mlp",)}


def environment(**changes: str) -> dict[str, str]:
    """This process' environment with changes."""
    return os.environ | changes


def devices(count: int) -> dict[str, str]:
    """The same with this many simulated devices."""
    given = os.environ.get("XLA_FLAGS", "")
    return environment(XLA_FLAGS=f"{given} --xla_force_host_platform_device_count={count}")


def chifoumi(*arguments: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run `chifoumi` with these arguments to its end; for the rest see `run_module`."""
    return run_module("chifoumi_jax.cli", *arguments, **how)


def run_module(
    module: str,
    *arguments: str | Path,
    cwd: Path | None = None,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    before: str = "",
    **changes: str,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module` with these arguments to its end.

    Args:
        module: Its name.
        arguments: Its words.
        cwd: Where; by default here.
        stdin: What it is to read, if anything.
        env: Its whole environment; by default this process'.
        before: Python for its process to begin with.
        changes: Of its environment.
    """
    around = dict(os.environ if env is None else env) | changes
    words = list(map(str, arguments))
    if sys.platform != "linux":
        # Elsewhere libraries do not bear a fork.
        return subprocess.run(
            [sys.executable, "-c", f"{before}\n{_RUN.format(module)}", *words],
            capture_output=True,
            text=True,
            input=stdin,
            cwd=cwd,
            env=around,
            timeout=_PATIENCE,
        )
    with tempfile.TemporaryDirectory() as temporary:
        files = {name: Path(temporary) / name for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_text(stdin or "")
        asked = {
            **{name: str(path) for name, path in files.items()},
            "arguments": words,
            "before": before,
            "environment": around,
            "folder": str(cwd or Path.cwd()),
            "module": module,
        }
        # These are read while JAX is imported.
        read = {name: around[name] for name in around if name.startswith(_READ_BY_JAX)}
        server = _server(_IMPORTED_BY.get(module, _IMPORTED), tuple(sorted(read.items())))
        code = _ask(json.dumps(asked), server)
        output, errors = (files[name].read_text() for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(words, code, output, errors)


def _ask(line: str, server: subprocess.Popen[str]) -> int:
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(line + "\n")
    server.stdin.flush()
    if not select.select([server.stdout], [], [], _PATIENCE)[0]:
        raise subprocess.TimeoutExpired(line, _PATIENCE)
    code = server.stdout.readline()
    assert code, "what starts the commands has ended: see its standard error"
    return int(code)


@functools.cache
def _server(imported: tuple[str, ...], read: tuple[tuple[str, str], ...]) -> subprocess.Popen[str]:
    others = {
        name: value for name, value in os.environ.items() if not name.startswith(_READ_BY_JAX)
    }
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("forks.py"), *imported],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=others | dict(read),
    )
    atexit.register(server.kill)
    return server
