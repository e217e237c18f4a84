"""Times one baseline in its own process: `python -m benchmarks.worker chifoumi train 25 600 5 3`.

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
from typing import Any

PACKAGES = ("jax", "flax", "tensorflow", "keras", "torch")
# Calls before the timing begins; a baseline's own `WARM_UP` overrides it.
WARM_UP = 2


def main() -> None:
    """Warm up, then repeat for `budget` seconds and at least `min_repetitions` times.

    These two are the last arguments of the command.
    """
    baseline, task, *arguments, budget, min_repetitions = sys.argv[1:]
    module = importlib.import_module(f"benchmarks.baselines.{baseline}")
    work = getattr(module, task)(*(int(text) if text.isdecimal() else text for text in arguments))
    for _ in range(getattr(module, "WARM_UP", WARM_UP)):
        work()
    seconds: list[float] = []
    while len(seconds) < int(min_repetitions) or sum(seconds) < float(budget):
        began = time.perf_counter()
        work()
        # Some baselines take several steps in one call.
        seconds.append((time.perf_counter() - began) / getattr(module, "STEPS", 1))
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes(), "versions": versions()}))


def peak_bytes() -> int:
    """Peak memory of this process in bytes; on a GPU, the peak of the device's memory."""
    if torch := _torch_on_gpu():
        return int(torch.cuda.max_memory_allocated())
    if (gpu := _jax_gpu()) is not None:
        return int(gpu.memory_stats()["peak_bytes_in_use"])
    try:
        # Not `getrusage`, because its peak for a new process starts at its parent's.
        lines = Path("/proc/self/status").read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:
        # `ru_maxrss` is in kilobytes, except on macOS.
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    """Versions of Python and of the loaded frameworks, and the name of the GPU that they use."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        # TensorFlow imports JAX if it is installed, but does not run on it.
        if name in sys.modules and not (name == "jax" and "tensorflow" in sys.modules):
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
    if torch := _torch_on_gpu():
        found["on"] = torch.cuda.get_device_name()
    elif (gpu := _jax_gpu()) is not None:
        found["on"] = gpu.device_kind
    return found


def _torch_on_gpu() -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_initialized() else None


def _jax_gpu() -> Any:
    # TensorFlow's GPU memory is not read, so Keras on TensorFlow reports the host's memory.
    jax = sys.modules.get("jax")
    if jax is None or "tensorflow" in sys.modules or jax.default_backend() == "cpu":
        return None
    return jax.local_devices()[0]


if __name__ == "__main__":
    main()
