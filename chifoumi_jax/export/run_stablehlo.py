"""Runs an exported file in JAX alone: `run_stablehlo.py MODEL IMAGES.npz OUTPUTS.npz SECONDS`.

It loads a serialised `jax.export.Exported` and runs it on each batch of images. Then it times the
first batch repeatedly, at least five times and for at least SECONDS in all.
"""

import sys
import time
from pathlib import Path

import jax
import jax.export
import numpy as np

model, images_file, outputs_file, budget = sys.argv[1:]
run = jax.jit(jax.export.deserialize(bytearray(Path(model).read_bytes())).call)
outputs: dict[str, np.ndarray] = {}
with np.load(images_file) as arrays:
    batches = list(arrays.values())
for number, images in enumerate(batches):
    outputs |= {f"{name}{number}": np.asarray(array) for name, array in run(images).items()}
seconds: list[float] = []
while len(seconds) < 5 or sum(seconds) < float(budget):
    start = time.perf_counter()
    jax.block_until_ready(run(batches[0]))
    seconds.append(time.perf_counter() - start)
assert "chifoumi_jax" not in sys.modules
outputs["seconds"] = np.array(seconds)
np.savez(outputs_file, allow_pickle=False, **outputs)
