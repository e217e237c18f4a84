"""A dense generative adversarial network of digits (Keras).

The study trained it for 400 epochs of 468 steps. It printed no number, and kept two pictures.
Source of the model: Goodfellow et al., 2014, "Generative Adversarial Networks".
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from chifoumi_jax.files import write_json
from chifoumi_jax.systems import pictures, system
from chifoumi_jax.systems.datasets import digits
from chifoumi_jax.systems.digit_classifier import SampleScores
from chifoumi_jax.systems.keras_layers import dropout, keras_binary_cross_entropy, leaky_relu
from chifoumi_jax.systems.shared_adam import shared_adam
from chifoumi_jax.systems.weights import Weight

CODE = 100
PIXELS = 28 * 28
BATCH_SIZE = 128
# The label of real images in the discriminator's step; fakes have 0.
REAL_LABEL = 0.9
DROPOUT = 0.3
# The discriminator is updated before the generator.
NETWORKS = ("discriminator", "generator")
_GENERATOR = (CODE, 256, 512, 1024, PIXELS)
_DISCRIMINATOR = (PIXELS, 1024, 512, 256, 1)
# The study drew samples after epoch 1 and after each of these many.
_PICTURE_EPOCHS = 20


class Generator(nnx.Module):
    """100 → 256 → 512 → 1024 → 784, with LeakyReLU between them and tanh at the end."""

    def __init__(self, rngs: nnx.Rngs):
        self.dense_1, self.dense_2, self.dense_3, self.dense_4 = dense_layers(_GENERATOR, rngs)

    def __call__(self, codes: Float[Array, "batch 100"]) -> Float[Array, "batch 28 28"]:
        """Images with pixels from -1 to 1."""
        hidden = leaky_relu(self.dense_1(codes))
        hidden = leaky_relu(self.dense_2(hidden))
        hidden = leaky_relu(self.dense_3(hidden))
        return jnp.tanh(self.dense_4(hidden)).reshape(len(codes), 28, 28)


Masks = tuple[
    Bool[Array, "images 1024"],
    Bool[Array, "images 512"],
    Bool[Array, "images 256"],
]
"""The values that each of the discriminator's dropouts keeps."""


class Discriminator(nnx.Module):
    """784 → 1024 → 512 → 256 → 1, with LeakyReLU and dropout between, and a sigmoid."""

    def __init__(self, rngs: nnx.Rngs):
        self.dense_1, self.dense_2, self.dense_3, self.dense_4 = dense_layers(_DISCRIMINATOR, rngs)

    def __call__(
        self, images: Float[Array, "images 28 28"], masks: Masks | None = None
    ) -> Float[Array, " images"]:
        """The probability that each image is real; without masks nothing is dropped."""
        return jax.nn.sigmoid(self.logits(images, masks))

    def logits(
        self, images: Float[Array, "images 28 28"], masks: Masks | None = None
    ) -> Float[Array, " images"]:
        """The values before the sigmoid."""
        first, second, third = masks or (None, None, None)
        hidden = leaky_relu(self.dense_1(images.reshape(len(images), PIXELS)))
        hidden = leaky_relu(self.dense_2(dropout(hidden, first, DROPOUT)))
        hidden = leaky_relu(self.dense_3(dropout(hidden, second, DROPOUT)))
        return self.dense_4(dropout(hidden, third, DROPOUT))[:, 0]


class GAN(nnx.Module):
    """Both networks: 1,486,352 parameters generate, 1,460,225 discriminate."""

    def __init__(self, rngs: nnx.Rngs):
        self.generator = Generator(rngs)
        self.discriminator = Discriminator(rngs)


def dense_layers(widths: Sequence[int], rngs: nnx.Rngs) -> list[nnx.Linear]:
    """The study's layers: kernels of the first normal, of the others Glorot; biases zero."""
    normal, glorot = nnx.initializers.normal(0.02), nnx.initializers.glorot_uniform()
    return [
        nnx.Linear(inputs, outputs, kernel_init=glorot if place else normal, rngs=rngs)
        for place, (inputs, outputs) in enumerate(itertools.pairwise(widths))
    ]


class Noise(NamedTuple):
    """All random numbers of a step.

    Attributes:
        codes: What the discriminator's fakes are generated from.
        masks: The discriminator's dropouts in its own step, for real images, then fakes.
        generator_codes: What the generator's step generates from.
        generator_masks: The discriminator's dropouts in the generator's step.
    """

    codes: Float[Array, "batch 100"]
    masks: Masks
    generator_codes: Float[Array, "batch 100"]
    generator_masks: Masks


def discriminator_loss(
    model: GAN, images: Float[Array, "batch 28 28"], noise: Noise
) -> Float[Array, ""]:
    """One batch of real images, then as many fakes, which pass no gradient to the generator."""
    fakes = jax.lax.stop_gradient(model.generator(noise.codes))
    probabilities = model.discriminator(jnp.concatenate([images, fakes]), noise.masks)
    real = jnp.full(len(images), REAL_LABEL, images.dtype)
    labels = jnp.concatenate([real, jnp.zeros_like(real)])
    return keras_binary_cross_entropy(probabilities, labels).mean()


def generator_loss(model: GAN, noise: Noise) -> Float[Array, ""]:
    """The fakes should count as real, with label 1; the discriminator drops values here too."""
    fakes = model.generator(noise.generator_codes)
    probabilities = model.discriminator(fakes, noise.generator_masks)
    return keras_binary_cross_entropy(probabilities, jnp.ones_like(probabilities)).mean()


class GANSystem(system.System):
    """The study's settings of this system."""

    name = "gan"
    title = "a dense generative adversarial network of digits"
    framework = "Keras"
    figures = tuple(
        system.Figure(name, "not measured")
        for name in (
            "confidence of a classifier in samples",
            "share of the rarest digit among samples",
            "Fréchet distance of samples to digits",
        )
    )
    epochs = 400
    batch_size = BATCH_SIZE
    quick = (20, 20_000)
    takes_digits = True
    bounded_initial = False

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._scores: SampleScores | None = None

    def create(self, rngs: nnx.Rngs) -> GAN:
        """Both networks with the study's initial distributions."""
        return GAN(rngs)

    def data(self, source: str | Path | None = None) -> system.Data:
        """The digits, with pixels from -1 to 1. The study did not use the labels; figures do."""
        found = digits(source)
        half = np.float32(127.5)
        return system.Data(
            {"images": (found.train_images - half) / half, "labels": found.train_labels},
            {"images": (found.test_images - half) / half, "labels": found.test_labels},
            found.source,
        )

    def optimizer(self) -> optax.GradientTransformation:
        """One Adam of Keras for both networks, which share its counter of steps."""
        return shared_adam(2e-4, 0.5, NETWORKS)

    def orders(self, examples: int, seed: int) -> Iterator[Int[np.ndarray, " shown"]]:
        """Images are drawn with replacement, for as many whole batches as the images would fill."""
        rng = np.random.RandomState(seed)
        shown = max(1, examples // BATCH_SIZE) * BATCH_SIZE
        while True:
            yield rng.randint(0, examples, shown)

    def draw(self, key: Key[Array, ""], batch_size: int) -> Noise:
        """Normal codes, and values that are kept with probability 0.7."""
        keys = jax.random.split(key, 4)

        def masks(key: Array, images: int) -> Masks:
            first, second, third = jax.random.split(key, 3)
            return (
                jax.random.bernoulli(first, 1 - DROPOUT, (images, 1024)),
                jax.random.bernoulli(second, 1 - DROPOUT, (images, 512)),
                jax.random.bernoulli(third, 1 - DROPOUT, (images, 256)),
            )

        return Noise(
            jax.random.normal(keys[0], (batch_size, CODE)),
            masks(keys[1], 2 * batch_size),
            jax.random.normal(keys[2], (batch_size, CODE)),
            masks(keys[3], batch_size),
        )

    def losses(self, batch: Mapping[str, Array], noise: Noise) -> dict[str, Callable[[GAN], Array]]:
        """What each network minimises, as a function of the model."""
        return {
            "discriminator": lambda model: discriminator_loss(model, batch["images"], noise),
            "generator": lambda model: generator_loss(model, noise),
        }

    def loss(
        self, model: nnx.Module, batch: Mapping[str, Array], carry: Any, noise: Any
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Any]]:
        """The discriminator's loss. The study printed none; this one shows in the history."""
        assert isinstance(model, GAN)
        value = discriminator_loss(model, batch["images"], noise)
        return value, (value, carry)

    def gradients(
        self, graph: nnx.GraphDef[Any], state: system.State, batch: Mapping[str, Array], noise: Any
    ) -> tuple[Any, system.Gradients]:
        """The gradient of each network's own loss; both networks are those of `state`."""
        gradients, losses = jax.tree.map(jnp.zeros_like, state.params), {}
        for name, loss in self.losses(batch, noise).items():
            losses[name], gradients[name] = _of_network(graph, state, name, loss)
        printed = losses["discriminator"]
        return gradients, system.Gradients(losses, printed, state.carry, state.statistics)

    def step(
        self, graph: nnx.GraphDef[Any], state: system.State, batch: Mapping[str, Array], noise: Any
    ) -> tuple[system.State, Float[Array, ""]]:
        """The discriminator's update, then the generator's against the updated discriminator."""
        losses = self.losses(batch, noise)
        state, printed = self.update(graph, state, "discriminator", losses["discriminator"])
        state, _ = self.update(graph, state, "generator", losses["generator"])
        return state, printed

    def update(
        self,
        graph: nnx.GraphDef[Any],
        state: system.State,
        name: str,
        loss: Callable[[GAN], Array],
    ) -> tuple[system.State, Float[Array, ""]]:
        """One update of the network `name`; the other one stays. Returns the loss before it."""
        value, gradient = _of_network(graph, state, name, loss)
        updates, opt_state = self.optimizer().update({name: gradient}, state.opt_state)
        assert isinstance(updates, dict)
        params = jax.tree.map(lambda value: value, state.params)
        params[name] = optax.apply_updates(params[name], updates[name])
        return state._replace(params=params, opt_state=opt_state), value

    def outputs(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The fakes of `codes`, the probabilities of `images`, and those of the fakes."""
        assert isinstance(model, GAN)
        fakes, real = model.generator(batch["codes"]), model.discriminator(batch["images"])
        return {"fakes": fakes, "real": real, "output": model.discriminator(fakes)}

    def evaluate(self, model: nnx.Module, data: system.Data) -> dict[str, float]:
        """What a classifier of digits finds in samples; see `SampleScores.of`."""
        assert isinstance(model, GAN)
        scores = self._scores_on(data)
        found = scores.of(_samples(model, scores.count))
        return {
            "confidence": found.confidence,
            "rarest_digit": min(found.shares),
            "frechet": found.frechet,
        }

    def results(
        self, model: nnx.Module, data: system.Data, history: Sequence[Mapping[str, float]]
    ) -> list[float]:
        """The scores of the last epoch's samples."""
        del model, data
        return [history[-1][name] for name in ("confidence", "rarest_digit", "frechet")]

    def draw_epoch(self, model: nnx.Module, data: system.Data, epoch: int, folder: Path) -> None:
        """100 samples after epoch 1 and after every 20th, as the study drew them."""
        del data
        if epoch == 1 or epoch % _PICTURE_EPOCHS == 0:
            assert isinstance(model, GAN)
            _draw_samples(model, folder / f"samples-{epoch:03d}.png")

    def draw_pictures(
        self,
        model: nnx.Module,
        data: system.Data,
        history: Sequence[Mapping[str, float]],
        folder: Path,
    ) -> None:
        """Samples, curves of the loss and of the samples' figures, and how often each digit is.

        `samples.json` has the figures of samples and of real digits that were held out.
        """
        assert isinstance(model, GAN)
        _draw_samples(model, folder / "samples.png")
        scores = self._scores_on(data)
        samples, real = scores.of(_samples(model, scores.count)), scores.held_out
        write_json(
            folder / "samples.json",
            {
                "count": scores.count,
                "classifier_accuracy": scores.accuracy,
                "samples": samples._asdict(),
                "held_out": real._asdict(),
            },
        )
        pictures.curves(folder / "loss.png", history, {"loss": "discriminator"}, {}, "loss")
        for column, label, floor in (
            ("confidence", "mean confidence of a classifier", real.confidence),
            ("frechet", "Fréchet distance to the digits", real.frechet),
        ):
            with pictures.figure(folder / f"{column}.png") as axes:
                values = [row[column] for row in history]
                axes.plot([row["epoch"] for row in history], values, "-o", markersize=3)
                axes.axhline(floor, color="0.5", linestyle="--")
                axes.set(xlabel="epoch", ylabel=label, title="Samples; dashed: held-out digits")
        with pictures.figure(folder / "digits.png") as axes:
            places = np.arange(10)
            for shift, shares, label in (
                (-0.2, samples.shares, "samples"),
                (0.2, real.shares, "held-out digits"),
            ):
                axes.bar(places + shift, shares, 0.4, label=label)
            axes.set(xlabel="digit, by the classifier", ylabel="share", xticks=places)
            axes.legend()

    def weights(self, model: nnx.Module) -> Mapping[str, Weight]:
        """Kernels and biases of the generator, then of the discriminator."""
        assert isinstance(model, GAN)
        return {
            f"{network}/dense_{place}/{kind}": Weight(
                getattr(getattr(getattr(model, network), f"dense_{place}"), kind)
            )
            for network in ("generator", "discriminator")
            for place in (1, 2, 3, 4)
            for kind in ("kernel", "bias")
        }

    def _scores_on(self, data: system.Data) -> SampleScores:
        """The classifier of these digits, which is trained on the first call."""
        if self._scores is None or self._scores.data is not data:
            self._scores = SampleScores(data)
        return self._scores


def _of_network(
    graph: nnx.GraphDef[Any], state: system.State, name: str, loss: Callable[[GAN], Array]
) -> tuple[Float[Array, ""], Any]:
    """The loss and its gradient by the parameters of one network; the other is constant."""

    def of_params(own: Any) -> Array:
        params = jax.tree.map(lambda value: value, state.params)
        params[name] = own
        return loss(nnx.merge(graph, params, state.statistics))

    return jax.value_and_grad(of_params)(state.params[name])


@nnx.jit
def _generate(model: GAN, codes: Float[Array, "batch 100"]) -> Float[Array, "batch 28 28"]:
    return model.generator(codes)


def _samples(model: GAN, count: int) -> Float[Array, "count 28 28"]:
    """Samples from the same codes each time, so that epochs can be compared."""
    found: Array = _generate(model, jax.random.normal(jax.random.key(0), (count, CODE)))
    return found


def _draw_samples(model: GAN, path: Path) -> None:
    """Write 10 × 10 samples, each stretched to its own extremes as the study's plots did."""
    images = _samples(model, 100)
    low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
    pictures.grid(path, ((images - low) / jnp.maximum(high - low, 1e-6)).reshape(10, 10, 28, 28))


SYSTEM = GANSystem()
