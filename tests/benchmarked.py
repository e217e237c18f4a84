"""Runs the processes of a benchmark as forks, which need not import JAX or PyTorch again."""

import os
import sys
from collections.abc import Mapping, Sequence

from benchmarks import measure
from benchmarks.measure import BaselineError
from tests.commands import PREIMPORTED_FOR, run_code, run_module

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
    if option == "-c":
        # A worker's modules, because the tests on the newest JAX lack the packages of the extras.
        done = run_code(what, *arguments, env=env, modules=PREIMPORTED_FOR["benchmarks.worker"])
    else:
        modules = ("torch",) if worker and "torch" in arguments[0] else None
        done = run_module(what, *arguments, env=env, modules=modules)
    if done.returncode != 0:
        raise BaselineError(f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout
