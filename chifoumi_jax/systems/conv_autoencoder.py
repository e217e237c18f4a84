"""A convolutional autoencoder of digits, and the same network as a denoiser (Keras).

The study trained each for 20 epochs. The plain one reached a mean squared error of 0.0011 on
validation images, the denoiser 0.0104. The code has 7 × 7 × 256 numbers, 16 times as many as the
image, so that nothing forces the network to compress.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from chifoumi_jax.systems import pictures, system
from chifoumi_jax.systems.datasets import digits
from chifoumi_jax.systems.keras_layers import BatchNorm, Conv, max_pool, upsample
from chifoumi_jax.systems.keras_rmsprop import keras_rmsprop
from chifoumi_jax.systems.weights import Weight

# Channels of the convolutions with batch normalisation; a last one has one channel.
CHANNELS = (32, 32, 64, 64, 128, 128, 256, 256, 128, 128, 64, 64, 32, 32)
# The convolutions, counted from 1, after which maps are halved and doubled.
POOLED, UPSAMPLED = (2, 4), (12, 14)
VALIDATION_SHARE, SPLIT_SEED = 0.2, 13
NOISE, NOISE_SEED = 0.5, 0
# What the study printed by epoch, × 1e-4: the training loss, then that of the validation images.
# fmt: off
_PLAIN = (
    (197, 51, 36, 30, 25, 22, 20, 19, 17, 16, 15, 15, 14, 13, 13, 12, 12, 12, 11, 11),
    (125, 85, 37, 43, 27, 25, 24, 17, 27, 18, 20, 15, 18, 19, 16, 24, 16, 14, 11, 11),
)
_DENOISER = (
    (355, 150, 126, 114, 107, 101, 96, 92, 89, 85, 82, 79, 76, 73, 70, 68, 65, 63, 61, 59),
    (217, 135, 142, 111, 117, 122, 106, 105, 105, 103,
     108, 113, 109, 103, 101, 106, 106, 106, 105, 104),
)
# fmt: on
_EVALUATED = 500
_DRAWN = slice(10, 20)

Images = Float[Array, "batch height width"]


class ConvAutoencoder(nnx.Module):
    """15 convolutions; ReLU, then batch normalisation, follow all but the last.

    1,758,657 parameters, running statistics included.

    Attributes:
        convolution: The class of the convolutions.
        normalisation: The class of the batch normalisations.
    """

    convolution: ClassVar[type[Conv]] = Conv
    normalisation: ClassVar[type[BatchNorm]] = BatchNorm

    def __init__(self, rngs: nnx.Rngs):
        pairs = zip((1, *CHANNELS), (*CHANNELS, 1), strict=True)
        self.convolutions = nnx.List([self.convolution(*pair, rngs) for pair in pairs])
        self.norms = nnx.List([self.normalisation(channels) for channels in CHANNELS])

    def block(self, convolution: Conv, norm: BatchNorm, maps: Array, updates: Any) -> Array:
        """A convolution, ReLU, and then the batch normalisation."""
        found: Array = norm(jax.nn.relu(convolution(maps)), updates)
        return found

    def layers(
        self, images: Images, updates: Int[Array, ""] | int = 0
    ) -> dict[str, Float[Array, "batch ..."]]:
        """The outputs of the blocks by name; the last is "output".

        Args:
            images: Pixels from 0 to 1; the numbers of rows and columns are multiples of 4.
            updates: How often the running statistics have been updated before.
        """
        x, found = images[..., None], {}
        *convolutions, last = self.convolutions
        pairs = zip(convolutions, self.norms, strict=True)
        for place, (convolution, norm) in enumerate(pairs, start=1):
            x = self.block(convolution, norm, x, updates)
            if place in POOLED:
                x = max_pool(x)
            if place in UPSAMPLED:
                x = upsample(x)
            if place % 2 == 0:
                found[f"block_{place // 2}"] = x
        return found | {"output": jax.nn.sigmoid(last(x))[..., 0]}

    def reconstruct(self, images: Images, updates: Int[Array, ""] | int = 0) -> Images:
        """The reconstructions; arguments as in `layers`."""
        return self.layers(images, updates)["output"]

    def __call__(
        self, images: Float[Array, "batch height width 1"]
    ) -> Float[Array, "batch height width 1"]:
        """The reconstructions, in the shape that the original takes."""
        return self.reconstruct(images[..., 0])[..., None]


def loss(
    model: ConvAutoencoder, images: Images, targets: Images, updates: Int[Array, ""] | int = 0
) -> Float[Array, ""]:
    """The mean squared error of all pixels."""
    return jnp.square(model.reconstruct(images, updates) - targets).mean()


class ConvAutoencoderSystem(system.System):
    """The study's settings of this system.

    The variants are the study's model 2, which takes noise from digits, and its model 1.

    Attributes:
        network: The class of the model.
    """

    network: ClassVar[type[ConvAutoencoder]] = ConvAutoencoder
    name = "conv-autoencoder"
    title = "a convolutional denoiser of digits, and a plain autoencoder"
    framework = "Keras"
    variants = ("denoiser", "plain")
    epochs = 20
    quick = (2, 3_000)
    takes_digits = True

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self.denoises = self.variant == "denoiser"
        self.batch_size = 128 if self.denoises else 64
        self.curves = _DENOISER if self.denoises else _PLAIN
        final = [f"{curve[-1] / 1e4:.4f}" for curve in self.curves]
        self.figures = (
            system.Figure("training loss", final[0]),
            system.Figure("validation loss", final[1]),
            system.Figure("test loss", "not measured"),
        )
        if self.denoises:
            self.figures += (system.Figure("test loss, fed clean images", "not measured"),)

    def create(self, rngs: nnx.Rngs) -> ConvAutoencoder:
        """The network with Keras' initial distributions."""
        return self.network(rngs)

    def data(self, source: str | Path | None = None) -> system.Data:
        """The digits, with pixels from 0 to 1; a fifth of the training images validates.

        The noise of the denoiser's inputs is drawn once, so that it is the same in every epoch.
        The study did not seed it.
        """
        found = digits(source)
        images, test = (
            pixels / np.float32(255) for pixels in (found.train_images, found.test_images)
        )
        order = np.random.RandomState(SPLIT_SEED).permutation(len(images))
        kept = math.ceil(VALIDATION_SHARE * len(images))
        parts = {"": images[order[kept:]], "validation": images[order[:kept]], "test": test}
        noisy = self._noisy(parts) if self.denoises else parts
        return system.Data(
            {"images": noisy[""], "targets": parts[""]},
            {
                "images": noisy["validation"],
                "targets": parts["validation"],
                "test_images": noisy["test"],
                "test_targets": parts["test"],
            },
            found.source,
        )

    def _noisy(self, parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The images with normal noise, cut to [0, 1]; computed in float64 as the study did."""
        rng, found = np.random.RandomState(NOISE_SEED), {}
        for name, images in parts.items():
            noise = rng.normal(size=images.shape)
            noise *= NOISE
            noise += images
            found[name] = np.clip(noise, 0, 1, out=noise).astype(np.float32)
        return found

    def optimizer(self) -> optax.GradientTransformation:
        """RMSprop of Keras 2.2.4 with its defaults."""
        return keras_rmsprop()

    def orders(self, examples: int, seed: int) -> Iterator[Int[np.ndarray, " examples"]]:
        """Keras shuffles the order of the epoch before."""
        return system.shuffled_in_place(examples, seed)

    def initial_carry(self) -> Int[Array, ""]:
        """The number of updates of the running statistics."""
        return jnp.int32(0)

    def begin_epoch(self, carry: Any) -> Any:
        """The count goes on."""
        return carry

    def loss(
        self, model: nnx.Module, batch: Mapping[str, Array], carry: Any, noise: Any
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Any]]:
        """The mean squared error."""
        del noise
        assert isinstance(model, ConvAutoencoder)
        value = loss(model, batch["images"], batch["targets"], carry)
        return value, (value, carry + 1)

    def evaluate(self, model: nnx.Module, data: system.Data) -> dict[str, float]:
        """The loss of the validation images."""
        return {"validation_loss": _mean_loss(model, data.test["images"], data.test["targets"])}

    def outputs(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Each block's output, then the reconstruction."""
        assert isinstance(model, ConvAutoencoder)
        return model.layers(batch["images"])

    def results(
        self, model: nnx.Module, data: system.Data, history: Sequence[Mapping[str, float]]
    ) -> list[float]:
        """The last epoch's losses, and that of the test images.

        For the denoiser also the loss of the test images when they are fed without noise, as in
        the study's picture of "reconstructions of noisy images".
        """
        images, targets = data.test["test_images"], data.test["test_targets"]
        found = [history[-1]["loss"], history[-1]["validation_loss"]]
        fed = (images, targets) if self.denoises else (images,)
        return found + [_mean_loss(model, one, targets) for one in fed]

    def draw_pictures(
        self,
        model: nnx.Module,
        data: system.Data,
        history: Sequence[Mapping[str, float]],
        folder: Path,
    ) -> None:
        """Reconstructions, and the losses beside the study's.

        The denoiser's rows: clean images, noisy ones, what it makes of the noisy ones, and what it
        makes of the clean ones, which the study showed in its place.
        """
        assert isinstance(model, ConvAutoencoder)
        clean, noisy = (
            jnp.asarray(data.test[name][_DRAWN]) for name in ("test_targets", "test_images")
        )
        given = (noisy, clean) if self.denoises else (clean,)
        rows = [clean, noisy] if self.denoises else [clean]
        rows += [model.reconstruct(images) for images in given]
        pictures.grid(folder / "reconstructions.png", rows)
        names = {"loss": "training", "validation_loss": "validation"}
        study = {
            name: [value / 1e4 for value in curve]
            for name, curve in zip(names, self.curves, strict=True)
        }
        pictures.curves(folder / "loss.png", history, names, study, "mean squared error")

    def weights(self, model: nnx.Module) -> Mapping[str, Weight]:
        """The layers in the order of Keras' `get_weights`."""
        assert isinstance(model, ConvAutoencoder)
        found: dict[str, Weight] = {}
        for number, convolution in enumerate(model.convolutions, start=1):
            name = f"conv2d_{number}"
            assert convolution.bias is not None
            found[f"{name}/kernel"] = Weight(convolution.kernel)
            found[f"{name}/bias"] = Weight(convolution.bias)
            if number <= len(CHANNELS):
                norm, name = model.norms[number - 1], f"batch_normalization_{number}"
                found[f"{name}/gamma"] = Weight(norm.scale)
                found[f"{name}/beta"] = Weight(norm.bias)
                found[f"{name}/moving_mean"] = Weight(norm.mean)
                found[f"{name}/moving_variance"] = Weight(norm.var)
        return found


@nnx.jit
def _loss(model: ConvAutoencoder, images: Images, targets: Images) -> Float[Array, ""]:
    return loss(model, images, targets)


def _mean_loss(model: nnx.Module, images: np.ndarray, targets: np.ndarray) -> float:
    """The loss of all images, in parts."""
    assert isinstance(model, ConvAutoencoder)
    total = 0.0
    for start in range(0, len(images), _EVALUATED):
        rows = slice(start, start + _EVALUATED)
        given = jnp.asarray(images[rows]), jnp.asarray(targets[rows])
        total += float(_loss(model, *given)) * len(given[0])
    return total / len(images)


SYSTEM = ConvAutoencoderSystem()
