"""Starts the command line again and again, in a process each, from one that has imported it.

Half of what a test of a short command costs goes into importing JAX and Flax. Each line of standard
input asks for a command; it runs in a fork of this process, which has imported and not yet started
anything, with output, environment and folder of its own; its exit code is the answer.
"""

import importlib
import json
import os
import runpy
import sys
from collections.abc import Mapping
from typing import Any

# What most commands import when they run.
IMPORTED = (
    "chifoumi_jax.cli",
    "chifoumi_jax.convert",
    "chifoumi_jax.crossval",
    "chifoumi_jax.export",
    "chifoumi_jax.judge",
    "chifoumi_jax.summary",
    "chifoumi_jax.train",
    "jinja2",
    "matplotlib.figure",
    "orbax.checkpoint",
    "scipy.optimize",
    "sklearn.metrics",
)


def serve() -> None:
    """Answer until standard input ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    # Not `sys.stdin`: of what that reads ahead a command would find the rest.
    with os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8") as asked:
        for line in asked:
            child = os.fork()
            if child == 0:
                become(json.loads(line))
                return
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)


def become(asked: Mapping[str, Any]) -> None:
    """Be the command that was asked for; ends as it does, by an exception too."""
    for number, (key, flags) in enumerate(
        (
            ("stdin", os.O_RDONLY),
            ("stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            ("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        )
    ):
        opened = os.open(asked[key], flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    exec(asked["before"], {})
    # As `python -m` has them.
    sys.argv[1:] = asked["arguments"]
    sys.path[0] = asked["folder"]
    # It runs once more, as the main module.
    del sys.modules["chifoumi_jax.cli"]
    runpy.run_module("chifoumi_jax.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve()
