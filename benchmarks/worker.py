"""Times one peer, in a process of its own: `python -m benchmarks.worker chifoumi train 25 600`.

Prints one line of JSON: the seconds of each repetition, and the process' peak memory.
"""

import importlib
import json
import platform
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("jax", "flax", "tensorflow", "keras", "torch")
WARM_UP = 2


def main() -> None:
    """Warm up, then repeat for `budget` seconds, at least `least` times."""
    peer, task, batch_size, image_size, budget, least = sys.argv[1:7]
    module = importlib.import_module(f"benchmarks.peers.{peer}")
    work = getattr(module, task)(int(batch_size), int(image_size))
    for _ in range(WARM_UP):
        work()
    seconds: list[float] = []
    while len(seconds) < int(least) or sum(seconds) < float(budget):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    # Kilobytes, except on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    result = {
        "seconds": seconds,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "versions": versions(),
    }
    print(json.dumps(result))


def versions() -> dict[str, str]:
    """Of Python and of those frameworks that are loaded."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        if name in sys.modules:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
    return found


if __name__ == "__main__":
    main()
