"""Runs modules as `python -m` does, each in a fork of this process.

Importing JAX and Flax, or PyTorch, takes half of the time of a test of a short command. This
process imports the modules that its arguments name, once, and starts nothing else. Each line of
standard input is a request to run a command. The command runs in a fork with its own output,
environment and folder. Its exit code is printed as the answer.
"""

import importlib
import json
import os
import runpy
import sys
from collections.abc import Mapping
from typing import Any


def serve() -> None:
    """Answer requests until standard input ends."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    # Not `sys.stdin`, because a command would inherit the lines that it has buffered.
    with os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8") as requests:
        for line in requests:
            child = os.fork()
            if child == 0:
                run_request(json.loads(line))
                return
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)


def run_request(request: Mapping[str, Any]) -> None:
    """Run the requested command in this process; its exceptions are not caught."""
    for number, (key, flags) in enumerate(
        (
            ("stdin", os.O_RDONLY),
            ("stdout", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            ("stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        )
    ):
        opened = os.open(request[key], flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    exec(request["setup"], {})
    # As `python -m` sets them.
    sys.argv[1:] = request["arguments"]
    sys.path[0] = request["folder"]
    # If it is imported already, it must run again as the main module.
    sys.modules.pop(request["module"], None)
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve()
