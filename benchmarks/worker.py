"""Times one peer, in a process of its own: `python -m benchmarks.worker chifoumi train 25 600 5 3`.

Prints one line of JSON: the seconds of each repetition, and the process' peak memory.
"""

import importlib
import json
import platform
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("jax", "flax", "tensorflow", "keras", "torch")
# Times that the work is done before it is timed, where its module says nothing else.
WARM_UP = 2


def main() -> None:
    """Warm up, then repeat for `budget` seconds, at least `least` times: the last two arguments."""
    peer, task, *given, budget, least = sys.argv[1:]
    module = importlib.import_module(f"benchmarks.peers.{peer}")
    work = getattr(module, task)(*(int(word) if word.isdecimal() else word for word in given))
    for _ in range(getattr(module, "WARM_UP", WARM_UP)):
        work()
    seconds: list[float] = []
    while len(seconds) < int(least) or sum(seconds) < float(budget):
        began = time.perf_counter()
        work()
        # Some do several at once.
        seconds.append((time.perf_counter() - began) / getattr(module, "STEPS", 1))
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes(), "versions": versions()}))


def peak_bytes() -> int:
    """The most memory that this process had."""
    try:
        # What `getrusage` says of a fresh process begins with its parent's.
        lines = Path("/proc/self/status").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:
        # Kilobytes, except on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    """Of Python and of those frameworks that are loaded."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        # TensorFlow brings JAX in where it is installed, and does not run on it.
        if name in sys.modules and not (name == "jax" and "tensorflow" in sys.modules):
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
    return found


if __name__ == "__main__":
    main()
