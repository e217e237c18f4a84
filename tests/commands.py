"""Runs commands in processes of their own, as a user starts them."""

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

# Options of a training that takes seconds: 24 × 24 pixels are almost the CNN's smallest image.
QUICK = ("--image-size", "24", "--learning-rate", "2e-3")

# For the slowest command.
_TIMEOUT_SECONDS = 300
_RUN_MODULE = "import runpy; runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
# JAX reads variables with these prefixes while it is imported.
_JAX_PREFIXES = ("JAX_", "XLA_", "TF_")
# Modules that most commands of this package import when they run.
_PREIMPORTED = (
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
# Modules to import for other commands, by the command's module.
_PREIMPORTED_FOR = {
    "reference.torch_mlp": ("reference.torch_mlp",),
    # The tests on the newest JAX lack the packages of the extras.
    "benchmarks.worker": ("chifoumi_jax.training.fit", "orbax.checkpoint"),
}


def environment(**changes: str) -> dict[str, str]:
    """This process' environment with some changes."""
    return os.environ | changes


def devices(count: int) -> dict[str, str]:
    """This process' environment with this many simulated devices."""
    flags = os.environ.get("XLA_FLAGS", "")
    return environment(XLA_FLAGS=f"{flags} --xla_force_host_platform_device_count={count}")


def chifoumi(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `chifoumi` with these arguments to its end; for `options` see `run_module`."""
    return run_module("chifoumi_jax.cli", *arguments, **options)


def run_module(
    module: str,
    *arguments: str | Path,
    cwd: Path | None = None,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    setup: str = "",
    **changes: str,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module` with these arguments to its end.

    Args:
        module: Name of the module.
        arguments: Its command line arguments.
        cwd: Working directory; by default that of this process.
        stdin: Text on its standard input; none by default.
        env: Its whole environment; by default that of this process.
        setup: Python code that its process runs first.
        changes: Changes of its environment.
    """
    variables = dict(os.environ if env is None else env) | changes
    words = list(map(str, arguments))
    if sys.platform != "linux":
        # On other systems libraries may crash after a fork.
        return subprocess.run(
            [sys.executable, "-c", f"{setup}\n{_RUN_MODULE.format(module)}", *words],
            capture_output=True,
            text=True,
            input=stdin,
            cwd=cwd,
            env=variables,
            timeout=_TIMEOUT_SECONDS,
        )
    with tempfile.TemporaryDirectory() as temporary:
        files = {name: Path(temporary) / name for name in ("stdin", "stdout", "stderr")}
        files["stdin"].write_text(stdin or "")
        request = {
            **{name: str(path) for name, path in files.items()},
            "arguments": words,
            "setup": setup,
            "environment": variables,
            "folder": str(cwd or Path.cwd()),
            "module": module,
        }
        for_jax = {name: variables[name] for name in variables if name.startswith(_JAX_PREFIXES)}
        modules = _PREIMPORTED_FOR.get(module, _PREIMPORTED)
        code = _exit_code(json.dumps(request), _server(modules, tuple(sorted(for_jax.items()))))
        output, errors = (files[name].read_text() for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(words, code, output, errors)


def _exit_code(request: str, server: subprocess.Popen[str]) -> int:
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(request + "\n")
    server.stdin.flush()
    if not select.select([server.stdout], [], [], _TIMEOUT_SECONDS)[0]:
        raise subprocess.TimeoutExpired(request, _TIMEOUT_SECONDS)
    code = server.stdout.readline()
    assert code, "the process that forks the commands has ended: see its standard error"
    return int(code)


@functools.cache
def _server(
    modules: tuple[str, ...], for_jax: tuple[tuple[str, str], ...]
) -> subprocess.Popen[str]:
    """A process of `forks.py` that has imported these modules with these variables for JAX."""
    others = {
        name: value for name, value in os.environ.items() if not name.startswith(_JAX_PREFIXES)
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forks", *modules],
        cwd=Path(__file__).parents[1],  # the package need not be installed
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=others | dict(for_jax),
    )
    atexit.register(server.kill)
    return server
