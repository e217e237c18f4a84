"""Runs Python code as `python -c` does, each time in a fork of this process.

Importing JAX and Flax, or PyTorch, takes half of the time of a test of a short command. This
process imports the modules that its arguments name, once, and starts nothing else. Each line of
standard input is a request to run code. The code runs in a fork with its own output, environment
and folder, while this process waits for the next request. The fork's process number and then its
exit code are written to the file that the request names.
"""

import atexit
import gc
import importlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any


def serve() -> None:
    """Answer requests until standard input ends."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    # A collection in a fork would copy the pages of all imported objects.
    gc.freeze()
    # Not `sys.stdin`, because the code would inherit the lines that it has buffered.
    with os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8") as requests:
        for line in requests:
            # The fork in between ends at once, so that this process need not wait for the code.
            between = os.fork()
            if between == 0:
                if os.fork() == 0:
                    supervise(json.loads(line))
                os._exit(0)
            os.waitpid(between, 0)


def supervise(request: Mapping[str, Any]) -> None:
    """Run the requested code in a fork, and report its process number and its exit code."""
    with open(request["status"], "w") as status:  # noqa: PTH123
        child = os.fork()
        if child == 0:
            os.close(status.fileno())
            run_to_the_end(request)
        print(child, file=status, flush=True)
        _, code = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(code), file=status, flush=True)
    os._exit(0)


def run_to_the_end(request: Mapping[str, Any]) -> None:
    """Run the requested code and end this process with its exit code.

    The process ends without freeing Python's objects. For PyTorch's and JAX's that takes a second,
    because it copies the pages that the fork shares.
    """
    code: object = 0
    try:
        run_request(request)
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - Python prints an exception of any kind
        sys.excepthook(*sys.exc_info())
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    # What Python does before it frees objects.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def run_request(request: Mapping[str, Any]) -> None:
    """Run the requested code in this process; its exceptions are not caught."""
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
    # As `python -c` sets them.
    sys.argv[:] = ["-c", *request["arguments"]]
    sys.path[0] = request["folder"]
    exec(request["code"], {"__name__": "__main__"})


if __name__ == "__main__":
    serve()
