"""Starts modules again and again as `python -m` does, each in a process of its own.

Half of what a test of a short command costs goes into importing JAX and Flax, or PyTorch. Each line
of standard input asks for a command; it runs in a fork of this process, which has imported what the
arguments name and not yet started anything, with output, environment and folder of its own; its
exit code is the answer.
"""

import importlib
import json
import os
import runpy
import sys
from collections.abc import Mapping
from typing import Any


def serve() -> None:
    """Answer until standard input ends."""
    for name in sys.argv[1:]:
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
    # If it is imported: it runs once more, as the main module.
    sys.modules.pop(asked["module"], None)
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve()
