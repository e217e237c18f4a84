"""StableHLO with the weights inside: runs where JAX is, on any device, without this package.

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
from chifoumi_jax.export.network import Network, walk
from chifoumi_jax.export.verify import Answers, Runner
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
_LOADER = Path(__file__).with_name("run_stablehlo.py")


class Lax:
    """`Operations` in XLA's own: the fast ones are calls into a library that others do not have."""

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


def write(network: Network, path: Path) -> None:
    """Write the network as a serialised `jax.export.Exported`, for any number of images.

    Its `fun_name` is JSON that tells the classes and the rest of `network.about()`.
    """

    def classify(images: Array) -> dict[str, Array]:
        logits, probabilities = walk(Lax(), network, images)
        return {"logits": logits, "probabilities": probabilities}

    classify.__name__ = json.dumps(network.about())
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *network.input_shape), jnp.float32)
    exported = jax.export.export(jax.jit(classify), platforms=PLATFORMS)(images)
    path.write_bytes(exported.serialize())


class StableHloRunner(Runner):
    """The file in a fresh process, which has JAX and not this package."""

    def __init__(self, path: Path):
        self._path = path
        self._seconds: list[float] = []

    def answer(self, images: np.ndarray) -> Answers:
        """See `Runner`."""
        return self.answer_all([images])[0]

    def answer_all(self, batches: Sequence[np.ndarray]) -> list[Answers]:
        """See `Runner`."""
        found = self._run(batches)
        self._seconds = [float(second) for second in found["seconds"]]
        numbers = range(len(batches))
        return [Answers(found[f"logits{i}"], found[f"probabilities{i}"]) for i in numbers]

    def seconds(self, images: np.ndarray, budget: float) -> list[float]:
        """See `Runner`: what the process measured that gave the answers, on its first batch."""
        if not self._seconds:
            self.answer(images)
        return self._seconds

    def _run(self, batches: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory() as name:
            given, answered = Path(name) / "images.npz", Path(name) / "answers.npz"
            np.savez(given, *batches)
            # -P: the folder of the script is none to import from.
            files = map(str, (_LOADER, self._path, given, answered))
            words = [sys.executable, "-P", *files, str(verify.BUDGET)]
            done = subprocess.run(
                words, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}
            )
            if done.returncode != 0:
                last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
                raise ExportError(f"a fresh process could not run what was written: {last}")
            with np.load(answered) as found:
                return dict(found)
