"""A script that knows JAX alone: `run_stablehlo.py MODEL IMAGES.npz ANSWERS.npz SECONDS`.

Loads a serialised `jax.export.Exported`, runs it on each batch of images, and then on the first one
again, for so many seconds and five times at least.
"""

import sys
import time
from pathlib import Path

import jax
import jax.export
import numpy as np

model, given, answered, budget = sys.argv[1:]
run = jax.jit(jax.export.deserialize(bytearray(Path(model).read_bytes())).call)
answers: dict[str, np.ndarray] = {}
with np.load(given) as found:
    batches = list(found.values())
for number, images in enumerate(batches):
    answers |= {f"{name}{number}": np.asarray(array) for name, array in run(images).items()}
seconds: list[float] = []
while len(seconds) < 5 or sum(seconds) < float(budget):
    began = time.perf_counter()
    jax.block_until_ready(run(batches[0]))
    seconds.append(time.perf_counter() - began)
assert "chifoumi_jax" not in sys.modules
answers["seconds"] = np.array(seconds)
np.savez(answered, allow_pickle=False, **answers)
