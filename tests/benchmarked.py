"""Runs the processes of a benchmark as forks, which need not import JAX or PyTorch again."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import measure
from benchmarks.measure import BaselineError
from tests.commands import run_code, run_module

_RUN = measure.run
_MODULES = ("benchmarks.worker", "chifoumi_jax.cli")


def run(command: Sequence[object], environment: Mapping[str, str] | None = None) -> str:
    """Like `benchmarks.measure.run`, with a fork for code, a worker or a command of this package.

    Keras and other interpreters run in new processes, because TensorFlow does not survive a fork.
    """
    python, option, what, *arguments = map(str, command)
    worker = what == "benchmarks.worker"
    if python != sys.executable or (option != "-c" and what not in _MODULES):
        return _RUN(command, environment)
    if worker and arguments[0] == "keras":
        return _RUN(command, environment)
    variables = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    env = variables | dict(environment or {})
    options: dict[str, Any] = {"modules": ("torch",)} if worker and "torch" in arguments[0] else {}
    start = run_code if option == "-c" else run_module
    done = start(what, *arguments, env=env, **options)
    if done.returncode != 0:
        raise BaselineError(f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout
