"""Seconds and peak memory of a command, as JSON: `python -m benchmarks.time_and_memory COMMAND`.

It has its own process, because the system reports only one peak memory for all children.
"""

import json
import resource
import subprocess
import sys
import time


def main() -> None:
    """Run the command given as arguments; if it fails, exit with its exit code."""
    began = time.perf_counter()
    done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(done.returncode)
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
