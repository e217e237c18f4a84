"""A dense variational autoencoder of digits (PyTorch).

The study trained it for 15 epochs and reached 0.1338 per pixel, about 105 nats an image.
Source of the model: Kingma and Welling, 2014, "Auto-Encoding Variational Bayes".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from chifoumi_jax.optim import keras_adam
from chifoumi_jax.systems import pictures, system
from chifoumi_jax.systems.datasets import digits
from chifoumi_jax.systems.layers import torch_binary_cross_entropy, torch_linear
from chifoumi_jax.systems.weights import Weight, linear_weights

LATENT = 20
PIXELS = 28 * 28
BATCH_SIZE = 128
# Mean of the printed step losses of each epoch, times 128; the study's final run.
STUDY_LOSSES = (
    *(0.2151, 0.1555, 0.1462, 0.1426, 0.1403, 0.1386, 0.1377, 0.1370),
    *(0.1360, 0.1358, 0.1352, 0.1346, 0.1341, 0.1340, 0.1338),
)


class VAE(nnx.Module):
    """784 → 400 → 20 means and 20 log variances → 400 → 784; 652,824 parameters."""

    def __init__(self, rngs: nnx.Rngs):
        self.fc1 = torch_linear(PIXELS, 400, rngs)
        self.fc21 = torch_linear(400, LATENT, rngs)
        self.fc22 = torch_linear(400, LATENT, rngs)
        self.fc3 = torch_linear(LATENT, 400, rngs)
        self.fc4 = torch_linear(400, PIXELS, rngs)

    def encode(
        self, images: Float[Array, "batch 28 28"]
    ) -> tuple[Float[Array, "batch 20"], Float[Array, "batch 20"]]:
        """Mean and log variance of each image's code; pixels lie in [0, 1]."""
        hidden = jax.nn.relu(self.fc1(images.reshape(len(images), PIXELS)))
        return self.fc21(hidden), self.fc22(hidden)

    def decode(self, codes: Float[Array, "batch 20"]) -> Float[Array, "batch 28 28"]:
        """The images of codes."""
        hidden = jax.nn.relu(self.fc3(codes))
        return jax.nn.sigmoid(self.fc4(hidden)).reshape(len(codes), 28, 28)

    def __call__(
        self, images: Float[Array, "batch 28 28"], noise: Float[Array, "batch 20"] | None = None
    ) -> tuple[Float[Array, "batch 28 28"], Float[Array, "batch 20"], Float[Array, "batch 20"]]:
        """Reconstructions, means and log variances; without noise the code is the mean."""
        mean, log_variance = self.encode(images)
        code = mean if noise is None else mean + jnp.exp(log_variance / 2) * noise
        return self.decode(code), mean, log_variance


def loss(
    model: VAE, images: Float[Array, "batch 28 28"], noise: Float[Array, "batch 20"] | None
) -> Float[Array, ""]:
    """Cross-entropy per pixel plus the KL divergence over 128 × 784, whatever the batch's size."""
    reconstruction, mean, log_variance = model(images, noise)
    cross_entropy = torch_binary_cross_entropy(reconstruction, images).mean()
    divergence = -0.5 * jnp.sum(1 + log_variance - mean**2 - jnp.exp(log_variance))
    return cross_entropy + divergence / (BATCH_SIZE * PIXELS)


class VAESystem(system.System):
    """The study's settings of this system."""

    name = "vae"
    title = "a dense variational autoencoder of digits"
    framework = "PyTorch"
    figures = (
        system.Figure("training loss per pixel", "0.1338"),
        system.Figure("test loss per pixel / 128", "0.0010"),
    )
    epochs = 15
    batch_size = BATCH_SIZE
    takes_digits = True

    def create(self, rngs: nnx.Rngs) -> VAE:
        """The network with PyTorch's initial distributions."""
        return VAE(rngs)

    def data(self, source: str | Path | None = None) -> system.Data:
        """The digits, with pixels from 0 to 1."""
        found = digits(source)
        return system.Data(
            {"images": found.train_images / np.float32(255)},
            {"images": found.test_images / np.float32(255)},
            found.source,
        )

    def optimizer(self) -> optax.GradientTransformation:
        """Adam as PyTorch had it before version 1.3."""
        return keras_adam(1e-3, eps=1e-8)

    def orders(self, examples: int, seed: int) -> Iterator[Int[np.ndarray, " examples"]]:
        """PyTorch's loader permutes all images for each epoch."""
        return system.permutations(examples, seed)

    def draw(self, key: Key[Array, ""], batch_size: int) -> Float[Array, "batch 20"]:
        """Normal noise for the codes of a batch."""
        return jax.random.normal(key, (batch_size, LATENT))

    def loss(
        self, model: nnx.Module, batch: Mapping[str, Array], carry: Any, noise: Any
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Any]]:
        """The negative evidence lower bound per pixel."""
        assert isinstance(model, VAE)
        value = loss(model, batch["images"], noise)
        return value, (value, carry)

    def printed(self, losses: Float[np.ndarray, " steps"], sizes: Sequence[int]) -> float:
        """The sum of the batches' *mean* losses over the number of images: divided twice."""
        return float(np.sum(losses, dtype=np.float64) / sum(sizes))

    def evaluate(self, model: nnx.Module, data: system.Data) -> dict[str, float]:
        """The loss of the test images as the study printed it, with the mean as code."""
        assert isinstance(model, VAE)
        images = data.test["images"]
        losses = [
            float(_test_loss(model, jnp.asarray(images[i : i + BATCH_SIZE])))
            for i in range(0, len(images), BATCH_SIZE)
        ]
        return {"test_loss": sum(losses) / len(images)}

    def outputs(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Mean, log variance and reconstruction, with the mean as code."""
        assert isinstance(model, VAE)
        reconstruction, mean, log_variance = model(batch["images"])
        return {"mean": mean, "log_variance": log_variance, "output": reconstruction}

    def results(
        self, model: nnx.Module, data: system.Data, history: Sequence[Mapping[str, float]]
    ) -> list[float]:
        """The last epoch's mean step loss, and its test loss as printed."""
        del model
        steps = -(-len(data) // BATCH_SIZE)
        return [history[-1]["loss"] * len(data) / steps, history[-1]["test_loss"]]

    def draw_pictures(
        self,
        model: nnx.Module,
        data: system.Data,
        history: Sequence[Mapping[str, float]],
        folder: Path,
    ) -> None:
        """Reconstructions, samples, a walk between two digits' codes, and the loss."""
        assert isinstance(model, VAE)
        originals = jnp.asarray(data.test["images"][:10])
        pictures.grid(folder / "reconstructions.png", [originals, model(originals)[0]])
        codes = jax.random.normal(jax.random.key(0), (64, LATENT))
        pictures.grid(folder / "samples.png", model.decode(codes).reshape(8, 8, 28, 28))
        mean, _ = model.encode(originals)
        share = jnp.linspace(0, 1, 10)[:, None]
        walks = [
            model.decode((1 - share) * mean[i] + share * mean[i + 1])
            for i in range(min(5, len(mean) - 1))
        ]
        pictures.grid(folder / "walk.png", walks)
        steps = -(-len(data) // BATCH_SIZE)
        rows = [{**row, "loss": row["loss"] * len(data) / steps} for row in history]
        pictures.curves(
            folder / "loss.png",
            rows,
            {"loss": "training"},
            {"loss": STUDY_LOSSES},
            "loss per pixel",
        )

    def weights(self, model: nnx.Module) -> Mapping[str, Weight]:
        """The layers as PyTorch's state_dict names them."""
        assert isinstance(model, VAE)
        return linear_weights(model, ("fc1", "fc21", "fc22", "fc3", "fc4"))


@nnx.jit
def _test_loss(model: VAE, images: Float[Array, "batch 28 28"]) -> Float[Array, ""]:
    return loss(model, images, None)


SYSTEM = VAESystem()
