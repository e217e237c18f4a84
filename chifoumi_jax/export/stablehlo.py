"""Export to StableHLO with the weights inside, which JAX runs on any device without this package.

`jax.export.deserialize(bytearray(content)).call(images)` gives `{"logits": …, "probabilities": …}`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from chifoumi_jax.export import verify
from chifoumi_jax.export.formats import ExportError
from chifoumi_jax.export.network import NetworkDescription, walk
from chifoumi_jax.export.verify import Outputs, Runner
from chifoumi_jax.models.description import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Mean,
    Residual,
    Scale,
)

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_SCRIPT = Path(__file__).with_name("run_stablehlo.py")


class LaxOperations:
    """`Operations` as plain XLA; the faster ones call a library that other installations lack."""

    def standardize(self, images: Array) -> Array:
        """See `Operations`."""
        centred = images - jnp.mean(images, axis=(1, 2), keepdims=True)
        deviation = jnp.sqrt(jnp.mean(centred**2, axis=(1, 2, 3), keepdims=True))
        return centred / (deviation + 1e-3)

    def with_mirror_images(self, images: Array) -> Array:
        """See `Operations`."""
        return jnp.concatenate([images, images[:, :, ::-1]])

    def conv(self, images: Array, layer: Conv) -> Array:
        """See `Operations`."""
        kernel = layer.kernel[:, :, None] if layer.depthwise else layer.kernel
        padding = [layer.padding(size) for size in images.shape[1:3]]
        convolved = lax.conv_general_dilated(
            images,
            jnp.asarray(kernel),
            (layer.stride, layer.stride),
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=images.shape[3] if layer.depthwise else 1,
            precision=lax.Precision.HIGHEST,
        )
        return _activate(convolved + layer.bias, layer.activation)

    def dense(self, values: Array, layer: Dense) -> Array:
        """See `Operations`."""
        product = jnp.dot(values, jnp.asarray(layer.kernel), precision=lax.Precision.HIGHEST)
        return _activate(product + layer.bias, layer.activation)

    def scale(self, images: Array, layer: Scale) -> Array:
        """See `Operations`."""
        return images * jnp.float32(layer.factor) + jnp.float32(layer.offset)

    def max_pool(self, images: Array, layer: MaxPool) -> Array:
        """See `Operations`."""
        window = (1, 2, 2, 1)
        return lax.reduce_window(images, -jnp.inf, lax.max, window, window, "VALID")

    def mean(self, images: Array, layer: Mean) -> Array:
        """See `Operations`."""
        return jnp.mean(images, axis=(1, 2))

    def flatten(self, images: Array, layer: Flatten) -> Array:
        """See `Operations`."""
        return images.reshape(images.shape[0], -1)

    def dropout(self, values: Array, layer: Dropout) -> Array:
        """See `Operations`."""
        return values

    def add(self, images: Array, others: Array, layer: Residual) -> Array:
        """See `Operations`."""
        return images + others

    def mean_of_halves(self, logits: Array) -> Array:
        """See `Operations`."""
        both = jax.nn.log_softmax(logits).reshape(2, -1, logits.shape[1])
        return jax.nn.logsumexp(both, axis=0) - jnp.log(jnp.float32(2))

    def divide(self, logits: Array, temperature: float) -> Array:
        """See `Operations`."""
        return logits / jnp.float32(temperature)

    def softmax(self, logits: Array) -> Array:
        """See `Operations`."""
        return jax.nn.softmax(logits)


def _activate(values: Array, activation: str | None) -> Array:
    if activation is None:
        return values
    return jnp.clip(values, 0, 6 if activation == "relu6" else None)


def write(network: NetworkDescription, path: Path) -> None:
    """Write the network as a serialised `jax.export.Exported`, for any number of images.

    Its `fun_name` is the JSON of `network.metadata()`, which has the classes.
    """

    def classify(images: Array) -> dict[str, Array]:
        logits, probabilities = walk(LaxOperations(), network, images)
        return {"logits": logits, "probabilities": probabilities}

    classify.__name__ = json.dumps(network.metadata())
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *network.input_shape), jnp.float32)
    exported = jax.export.export(jax.jit(classify), platforms=PLATFORMS)(images)
    path.write_bytes(exported.serialize())


class StableHloRunner(Runner):
    """Runs the file in a new process, which imports JAX but not this package."""

    def __init__(self, path: Path):
        self._path = path
        self._seconds: list[float] = []

    def predict(self, images: np.ndarray) -> Outputs:
        """See `Runner`."""
        return self.predict_all([images])[0]

    def predict_all(self, batches: Sequence[np.ndarray]) -> list[Outputs]:
        """See `Runner`."""
        arrays = self._run(batches)
        self._seconds = [float(second) for second in arrays["seconds"]]
        indices = range(len(batches))
        return [Outputs(arrays[f"logits{i}"], arrays[f"probabilities{i}"]) for i in indices]

    def seconds(self, images: np.ndarray, budget: float) -> list[float]:
        """See `Runner`; the times come from the last process, which measured its first batch."""
        if not self._seconds:
            self.predict(images)
        return self._seconds

    def _run(self, batches: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory() as name:
            images, outputs = Path(name) / "images.npz", Path(name) / "outputs.npz"
            np.savez(images, *batches)
            # -P keeps the script's folder, which lies in this package, out of sys.path.
            files = map(str, (_SCRIPT, self._path, images, outputs))
            command = [sys.executable, "-P", *files, str(verify.BUDGET)]
            done = subprocess.run(
                command, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}
            )
            if done.returncode != 0:
                last_line = (done.stderr.strip() or "no error message").splitlines()[-1]
                raise ExportError(f"a new process could not run the exported file: {last_line}")
            with np.load(outputs) as arrays:
                return dict(arrays)
