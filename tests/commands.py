"""Runs commands in processes of their own, as a user starts them."""

import atexit
import dataclasses
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

# Options of a training that takes seconds: 24 × 24 pixels are almost the CNN's smallest image.
QUICK = ("--image-size", "24", "--learning-rate", "2e-3")
# Code for `setup`: a training then draws no pictures of its run, which takes seconds.
WITHOUT_PICTURES = """
from chifoumi_jax.training import pictures
pictures.write_report = lambda *_: None
"""

# For the slowest command.
_TIMEOUT_SECONDS = 300
# If the module is imported already, it must run again as the main module.
_RUN_MODULE = """
import runpy, sys
sys.modules.pop({0!r}, None)
runpy.run_module({0!r}, run_name="__main__", alter_sys=True)
"""
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
PREIMPORTED_FOR = {
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


def start_chifoumi(*arguments: str | Path, setup: str = "", **options: Any) -> "Running":
    """Start `chifoumi` with these arguments, after the code `setup`; see `start_code`."""
    return start_code(setup + _RUN_MODULE.format("chifoumi_jax.cli"), *arguments, **options)


def run_module(
    module: str,
    *arguments: str | Path,
    setup: str = "",
    modules: Sequence[str] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module` with these arguments to its end.

    Args:
        module: Name of the module.
        arguments: Its command line arguments.
        setup: Python code that its process runs first.
        modules: Modules that are imported already when it begins; by default those of the module.
        options: See `start_code`.
    """
    code = f"{setup}\n{_RUN_MODULE.format(module)}"
    if modules is None:
        modules = PREIMPORTED_FOR.get(module, _PREIMPORTED)
    return run_code(code, *arguments, modules=modules, **options)


def run_code(code: str, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `python -c code` with these arguments to its end; for `options` see `start_code`."""
    running = start_code(code, *arguments, **options)
    output, errors = running.communicate(timeout=_TIMEOUT_SECONDS)
    assert running.returncode is not None
    return subprocess.CompletedProcess(
        list(map(str, arguments)), running.returncode, output, errors
    )


def start_code(
    code: str,
    *arguments: str | Path,
    cwd: Path | None = None,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    modules: Sequence[str] = _PREIMPORTED,
    **changes: str,
) -> "Running":
    """Start `python -c code` with these arguments.

    Args:
        code: Python code.
        arguments: Its command line arguments.
        cwd: Working directory; by default that of this process.
        stdin: Text on its standard input; none by default.
        env: Its whole environment; by default that of this process.
        modules: Modules that are imported already when it begins.
        changes: Changes of its environment.
    """
    variables = dict(os.environ if env is None else env) | changes
    words = list(map(str, arguments))
    folder = tempfile.TemporaryDirectory()
    files = {name: Path(folder.name) / name for name in ("stdin", "stdout", "stderr", "status")}
    files["stdin"].write_text(stdin or "")
    if sys.platform != "linux":
        # On other systems libraries may crash after a fork.
        with files["stdin"].open() as given:
            return subprocess.Popen(
                [sys.executable, "-c", code, *words],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=cwd,
                env=variables,
            )
    for name in ("stdout", "status"):
        os.mkfifo(files[name])
    request = {
        **{name: str(path) for name, path in files.items()},
        "arguments": words,
        "code": code,
        "environment": variables,
        "folder": str(cwd or Path.cwd()),
    }
    for_jax = {name: variables[name] for name in variables if name.startswith(_JAX_PREFIXES)}
    server = _server(tuple(modules), tuple(sorted(for_jax.items())))
    assert server.stdin is not None
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    status = _open_status(files["status"], server)
    number = int(status.readline())
    # Waits until the fork opens it too.
    return Forked(folder, number, status, files["stdout"].open(), files["stderr"])


def _open_status(file: Path, server: subprocess.Popen[str]) -> IO[str]:
    """Open the named pipe, and wait until the server's fork has written to it."""
    # Otherwise this would wait for ever for a server that has ended.
    status = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    while not select.select([status], [], [], 1)[0]:
        assert server.poll() is None, "the process that forks has ended: see its standard error"
    os.set_blocking(status, True)
    return os.fdopen(status, encoding="utf-8")


@dataclasses.dataclass
class Forked:
    """A running fork, with the methods of `subprocess.Popen`."""

    folder: tempfile.TemporaryDirectory[str]
    pid: int
    status: IO[str]
    stdout: IO[str]
    stderr: Path
    returncode: int | None = None
    texts: tuple[str, str] | None = None

    def poll(self) -> int | None:
        """The exit code, or None if the process runs."""
        if self.returncode is None and select.select([self.status], [], [], 0)[0]:
            self.returncode = int(self.status.readline())
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for the end of the process.

        Raises:
            subprocess.TimeoutExpired: If it still runs after `timeout` seconds.
        """
        if self.returncode is None:
            select.select([self.status], [], [], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if the process runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = _TIMEOUT_SECONDS) -> tuple[str, str]:
        """Wait for the end of the process, and return the rest of its output, and its errors.

        Raises:
            subprocess.TimeoutExpired: If it ran longer than `timeout` seconds; it was killed then.
        """
        if self.texts is not None:
            return self.texts
        timer = threading.Timer(timeout, self.kill)
        timer.start()
        output = self.stdout.read()
        ended_by_itself = timer.is_alive()
        timer.cancel()
        self.wait(_TIMEOUT_SECONDS)
        if not ended_by_itself:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        self.status.close()
        self.stdout.close()
        # The file is absent if the process was killed before it opened it.
        errors = self.stderr.read_text() if self.stderr.exists() else ""
        self.folder.cleanup()
        self.texts = output, errors
        return self.texts


Running = subprocess.Popen[str] | Forked


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
        text=True,
        env=others | dict(for_jax),
    )
    atexit.register(server.kill)
    return server
