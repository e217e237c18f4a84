"""Dense autoencoders of digits (PyTorch).

The study trained three architectures for 200 epochs. It found 2 the best, with 57.9 nats for an
image of the test. The run whose losses it kept, 4, is architecture 2 with Adam's epsilon 1e-6.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from chifoumi_jax.optim import keras_adam
from chifoumi_jax.systems import dense_autoencoder_curves as curves
from chifoumi_jax.systems import pictures, system
from chifoumi_jax.systems.datasets import digits
from chifoumi_jax.systems.layers import torch_binary_cross_entropy, torch_linear
from chifoumi_jax.systems.weights import Weight, linear_weights

PIXELS = 28 * 28
BATCH_SIZE = 128
# Of the encoder, from the pixels to the code; the decoder is its mirror.
WIDTHS = {
    "2": (PIXELS, 400, 128, 64, 32),
    "1": (PIXELS, 400, 20),
    "3": (PIXELS, 400, 256, 128, 64, 32),
}
# What the study printed after 200 epochs, in nats for an image.
_PRINTED = {
    "2": {"test_loss": "57.9"},
    "1": {"loss": "61.5", "test_loss": "63.6"},
    "3": {"test_loss": "62.5"},
}
_COLUMNS = {"loss": "training", "test_loss": "test"}
# The run of 4 stands for 2: an epsilon of 1e-6 is negligible beside the gradients of a sum.
_CURVES: Mapping[str, Mapping[str, Sequence[float]]] = {
    "2": {"loss": curves.TRAIN_4, "test_loss": curves.TEST_4},
    "1": {"loss": curves.TRAIN_1, "test_loss": curves.TEST_1},
    "3": {},
}


class Autoencoder(nnx.Module):
    """Linear layers `fc1`, `fc2`, … with ReLU between them; none after the code, and a sigmoid.

    644,804 parameters as architecture 1, 752,080 as 2, 920,528 as 3.
    """

    # The layers that every architecture has; deeper ones have more.
    fc1: nnx.Linear
    fc2: nnx.Linear
    fc3: nnx.Linear
    fc4: nnx.Linear

    def __init__(self, widths: Sequence[int], rngs: nnx.Rngs):
        there_and_back = (*widths, *reversed(widths[:-1]))
        for number, (inputs, outputs) in enumerate(itertools.pairwise(there_and_back), 1):
            setattr(self, f"fc{number}", torch_linear(inputs, outputs, rngs))
        self.names = tuple(f"fc{number}" for number in range(1, len(there_and_back)))

    def encode(self, images: Float[Array, "batch 28 28"]) -> Float[Array, "batch code"]:
        """The code of each image; pixels lie in [0, 1]."""
        names = self.names[: len(self.names) // 2]
        return self._apply(names, images.reshape(len(images), PIXELS))

    def decode(self, codes: Float[Array, "batch code"]) -> Float[Array, "batch 28 28"]:
        """The images of codes."""
        logits = self._apply(self.names[len(self.names) // 2 :], codes)
        return jax.nn.sigmoid(logits).reshape(len(codes), 28, 28)

    def __call__(self, images: Float[Array, "batch 28 28"]) -> Float[Array, "batch 28 28"]:
        """The reconstructions."""
        return self.decode(self.encode(images))

    def _apply(self, names: Sequence[str], values: Float[Array, "batch inputs"]) -> Array:
        *hidden, last = (getattr(self, name) for name in names)
        for layer in hidden:
            values = jax.nn.relu(layer(values))
        found: Array = last(values)
        return found


def loss(model: Autoencoder, images: Float[Array, "batch 28 28"]) -> Float[Array, ""]:
    """The cross-entropy, summed over the pixels of all images."""
    return torch_binary_cross_entropy(model(images), images).sum()


class DenseAutoencoderSystem(system.System):
    """The study's settings of this system.

    Attributes:
        network: The class of the model.
    """

    network: ClassVar[type[Autoencoder]] = Autoencoder
    name = "dense-autoencoder"
    title = "a dense autoencoder of digits"
    framework = "PyTorch"
    variants = ("2", "1", "3")
    epochs = 200
    batch_size = BATCH_SIZE
    takes_digits = True

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self.figures = tuple(
            system.Figure(f"{_COLUMNS[column]} loss per image", printed)
            for column, printed in _PRINTED[self.variant].items()
        )

    def create(self, rngs: nnx.Rngs) -> Autoencoder:
        """The network with PyTorch's initial distributions."""
        return self.network(WIDTHS[self.variant], rngs)

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

    def loss(
        self, model: nnx.Module, batch: Mapping[str, Array], carry: Any, noise: Any
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Any]]:
        """The summed cross-entropy."""
        del noise
        assert isinstance(model, Autoencoder)
        value = loss(model, batch["images"])
        return value, (value, carry)

    def printed(self, losses: Float[np.ndarray, " steps"], sizes: Sequence[int]) -> float:
        """The sum of the batches' losses over the number of images."""
        return float(np.sum(losses, dtype=np.float64) / sum(sizes))

    def evaluate(self, model: nnx.Module, data: system.Data) -> dict[str, float]:
        """The loss of the test images, per image."""
        assert isinstance(model, Autoencoder)
        images = data.test["images"]
        losses = [
            float(_test_loss(model, jnp.asarray(images[i : i + BATCH_SIZE])))
            for i in range(0, len(images), BATCH_SIZE)
        ]
        return {"test_loss": sum(losses) / len(images)}

    def outputs(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The code and the reconstruction."""
        assert isinstance(model, Autoencoder)
        return {"code": model.encode(batch["images"]), "output": model(batch["images"])}

    def results(
        self, model: nnx.Module, data: system.Data, history: Sequence[Mapping[str, float]]
    ) -> list[float]:
        """The last epoch's losses, of which the study printed those in `figures`."""
        del model, data
        return [history[-1][column] for column in _PRINTED[self.variant]]

    def draw_pictures(
        self,
        model: nnx.Module,
        data: system.Data,
        history: Sequence[Mapping[str, float]],
        folder: Path,
    ) -> None:
        """Reconstructions, decodings of normal codes, and the losses beside the study's."""
        assert isinstance(model, Autoencoder)
        originals = jnp.asarray(data.test["images"][:10])
        pictures.grid(folder / "reconstructions.png", [originals, model(originals)])
        # Nothing makes the codes of digits normal, so that few of these are digits.
        codes = jax.random.normal(jax.random.key(0), (64, WIDTHS[self.variant][-1]))
        pictures.grid(folder / "samples.png", model.decode(codes).reshape(8, 8, 28, 28))
        study = _CURVES[self.variant]
        pictures.curves(folder / "loss.png", history, _COLUMNS, study, "nats per image")

    def weights(self, model: nnx.Module) -> Mapping[str, Weight]:
        """The layers as PyTorch's state_dict names them."""
        assert isinstance(model, Autoencoder)
        return linear_weights(model, model.names)


@nnx.jit
def _test_loss(model: Autoencoder, images: Float[Array, "batch 28 28"]) -> Float[Array, ""]:
    return loss(model, images)


SYSTEM = DenseAutoencoderSystem()
