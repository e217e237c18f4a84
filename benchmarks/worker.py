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
# Times that the work is done before it is timed, where its module says nothing else.
WARM_UP = 2


def main() -> None:
    """Warm up, then repeat for `budget` seconds, at least `least` times: the last two arguments."""
    baseline, task, *given, budget, least = sys.argv[1:]
    module = importlib.import_module(f"benchmarks.baselines.{baseline}")
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
    """The most memory that this process had; on a GPU, of the device's."""
    if torch := _torch_on_gpu():
        return int(torch.cuda.max_memory_allocated())
    if (gpu := _jax_gpu()) is not None:
        return int(gpu.memory_stats()["peak_bytes_in_use"])
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
    """Of Python and of those frameworks that are loaded, and the GPU that they ran on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        # TensorFlow brings JAX in where it is installed, and does not run on it.
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
    # TensorFlow's own memory is not asked for: Keras on TensorFlow says what the host's was.
    jax = sys.modules.get("jax")
    if jax is None or "tensorflow" in sys.modules or jax.default_backend() == "cpu":
        return None
    return jax.local_devices()[0]


if __name__ == "__main__":
    main()
