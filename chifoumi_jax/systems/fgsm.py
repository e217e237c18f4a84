"""An attack on a LeNet (PyTorch): the fast gradient sign method, and a defence against it.

The study attacked the network of PyTorch's tutorial with the tutorial's weights: 98.1 % of the test
images were right, and 8.7 % after a change of each pixel by at most 0.3. It trained nothing and
had no defence. The training here is that of PyTorch's public example of 2018; the defended variants
are this project's.
Source of the attack: Goodfellow, Shlens and Szegedy, 2015.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key

from chifoumi_jax.models.dropout import draw_mask, dropout
from chifoumi_jax.optim import keras_adam, torch_sgd
from chifoumi_jax.systems import attacks, pictures, system
from chifoumi_jax.systems.datasets import digits
from chifoumi_jax.systems.layers import channel_major, max_pool_relu, torch_conv, torch_linear
from chifoumi_jax.systems.weights import Weight, conv_weights, linear_weights

CLASSES = 10
DROPOUT = 0.5
# The largest changes of a pixel that the study tried, and its counts of right answers by 10,000.
EPSILONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
STUDY_ACCURACIES = (0.981, 0.943, 0.851, 0.683, 0.43, 0.208, 0.087)
# The change against which the defended variants are trained.
EPSILON = 0.3
# Of the learning rate of a defence: its highest value, and the share of the training that it rises.
PEAK_RATE, RISING = 3e-3, 0.4
# The attack in its training; a single step of 1.25 epsilon is enough against FGSM, not against PGD.
TRAINING_STEP, TRAINING_STEPS = 0.12, 5
PGD_STEP, PGD_STEPS, PGD_RESTARTS = 0.01, 40, 10
# `results` attacks this many test images by PGD, because all take minutes.
PGD_IMAGES = 1_000
_BATCH = 500


@dataclasses.dataclass(frozen=True)
class Settings:
    """What differs between the variants.

    Attributes:
        widths: Channels of the two convolutions, and units of the hidden layer.
        batch_size: Number of images in a step.
        epochs: Number of epochs.
        defended: Whether the training attacks its images first; without a defence it has dropout.
    """

    widths: tuple[int, int, int]
    batch_size: int
    epochs: int
    defended: bool


SETTINGS = {
    "study": Settings((10, 20, 50), batch_size=64, epochs=10, defended=False),
    "defended": Settings((10, 20, 50), batch_size=100, epochs=10, defended=True),
    "defended-wide": Settings((16, 32, 100), batch_size=100, epochs=10, defended=True),
}
Masks = Mapping[str, Bool[Array, "batch width"]]


class LeNet(nnx.Module):
    """Two convolutions of 5 × 5, each with pooling and ReLU, and two linear layers.

    21,840 parameters with the study's widths.
    """

    def __init__(self, widths: tuple[int, int, int], rngs: nnx.Rngs):
        first, second, hidden = widths
        self.conv1 = torch_conv(1, first, 5, rngs)
        self.conv2 = torch_conv(first, second, 5, rngs)
        self.fc1 = torch_linear(4 * 4 * second, hidden, rngs)
        self.fc2 = torch_linear(hidden, CLASSES, rngs)

    def layers(
        self, images: Float[Array, "batch 28 28"], masks: Masks | None = None
    ) -> dict[str, Float[Array, "batch ..."]]:
        """The outputs by name; the last is "output", the log-probabilities.

        Args:
            images: Pixels from 0 to 1.
            masks: What dropout keeps: "channels" of the second convolution, and hidden "units".
        """
        pool1 = max_pool_relu(self.conv1(images[..., None]))
        conv2 = self.conv2(pool1)
        if masks is not None:
            conv2 = dropout(conv2, masks["channels"][:, None, None], DROPOUT)
        pool2 = max_pool_relu(conv2)
        hidden = jax.nn.relu(self.fc1(channel_major(pool2)))
        if masks is not None:
            hidden = dropout(hidden, masks["units"], DROPOUT)
        output = jax.nn.log_softmax(self.fc2(hidden))
        return {"pool1": pool1, "pool2": pool2, "fc1": hidden, "output": output}

    def __call__(
        self, images: Float[Array, "batch 28 28"], masks: Masks | None = None
    ) -> Float[Array, "batch 10"]:
        """The log-probabilities of the digits."""
        return self.layers(images, masks)["output"]


def losses(
    log_probabilities: Float[Array, "batch 10"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """The negative log-likelihood of each label."""
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]


def image_gradient(model: LeNet) -> attacks.Gradient:
    """The gradient of the summed loss by the images, without dropout."""
    graph, state = nnx.split(model)
    # A training through an attack has no gradient by the attack.
    frozen = nnx.merge(graph, jax.lax.stop_gradient(state))

    def loss(images: Array, labels: Array) -> Array:
        return losses(frozen(images), labels).sum()

    return jax.grad(loss)


class FGSMSystem(system.System):
    """The study's attack, the training that it did not do, and defences."""

    network: ClassVar[type[LeNet]] = LeNet
    name = "fgsm"
    title = "an attack on a LeNet, and a defence"
    framework = "PyTorch"
    variants = tuple(SETTINGS)
    takes_digits = True

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self.settings = SETTINGS[self.variant]
        self.epochs, self.batch_size = self.settings.epochs, self.settings.batch_size
        self.has_original = not self.settings.defended
        if self.settings.defended:
            self.figures = (
                system.Figure("accuracy", "no defence; goal 0.97"),
                system.Figure("accuracy under FGSM at 0.3", "no defence; goal 0.92"),
                system.Figure(
                    f"accuracy under PGD at 0.3, first {PGD_IMAGES:,} images",
                    "no defence; goal 0.85",
                ),
            )
        else:
            self.figures = tuple(
                system.Figure(f"accuracy at epsilon {epsilon:g}", f"{accuracy:g}")
                for epsilon, accuracy in zip(EPSILONS, STUDY_ACCURACIES, strict=True)
            )

    def create(self, rngs: nnx.Rngs) -> LeNet:
        """The network with PyTorch's initial distributions."""
        return self.network(self.settings.widths, rngs)

    def data(self, source: str | Path | None = None) -> system.Data:
        """The digits with pixels from 0 to 1, not normalised, and their labels."""
        found = digits(source)
        return system.Data(
            {
                "images": found.train_images / np.float32(255),
                "labels": found.train_labels.astype(np.int32),
            },
            {
                "images": found.test_images / np.float32(255),
                "labels": found.test_labels.astype(np.int32),
            },
            found.source,
        )

    def optimizer(self) -> optax.GradientTransformation:
        """SGD with momentum as in PyTorch's example; for a defence Adam with a triangular rate."""
        if self.settings.defended:
            return keras_adam(self.rate, eps=1e-8)
        return torch_sgd(0.01, momentum=0.5)

    def rate(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """A defence's learning rate: it rises from 0 to `PEAK_RATE`, and falls to a hundredth.

        It depends on the step alone, and assumes `SETTINGS`' epochs of 60,000 images, so that a
        resumed training equals another. With a high rate at the start, the training often ends at
        one answer for all images.
        """
        end = 60_000 // self.batch_size * self.epochs
        places = jnp.array([0.0, RISING * end, end])
        return jnp.interp(step, places, jnp.array([0.0, PEAK_RATE, PEAK_RATE / 100]))

    def orders(self, examples: int, seed: int) -> Iterator[Int[np.ndarray, " examples"]]:
        """PyTorch's loader permutes all images for each epoch."""
        return system.permutations(examples, seed)

    def draw(self, key: Key[Array, ""], batch_size: int) -> dict[str, Array]:
        """The masks of dropout; for a defence, where its attack starts, from -1 to 1."""
        if self.settings.defended:
            return {"start": jax.random.uniform(key, (batch_size, 28, 28), minval=-1.0)}
        channels, units = jax.random.split(key)
        _, second, hidden = self.settings.widths
        return {
            "channels": draw_mask(channels, (batch_size, second), DROPOUT),
            "units": draw_mask(units, (batch_size, hidden), DROPOUT),
        }

    def loss(
        self, model: nnx.Module, batch: Mapping[str, Array], carry: Any, noise: Any
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Any]]:
        """The mean negative log-likelihood; a defence takes attacked images."""
        assert isinstance(model, LeNet)
        images, labels = batch["images"], batch["labels"]
        masks = None if self.settings.defended else noise
        if self.settings.defended:
            images = attacks.pgd(
                image_gradient(model),
                images,
                labels,
                EPSILON * noise["start"],
                epsilon=EPSILON,
                step=TRAINING_STEP,
                steps=TRAINING_STEPS,
            )
        value = losses(model(images, masks), labels).mean()
        return value, (value, carry)

    def outputs(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The maps after pooling and ReLU, channels last, the hidden layer, log-probabilities."""
        assert isinstance(model, LeNet)
        return model.layers(batch["images"])

    def batch_gradients(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The gradient of the summed loss by the images, whose signs the attack takes."""
        assert isinstance(model, LeNet)
        return {"images": image_gradient(model)(batch["images"], batch["labels"])}

    def accuracies(
        self, model: LeNet, test: Mapping[str, np.ndarray]
    ) -> Float[np.ndarray, " epsilons"]:
        """The share that `count_right` counts for each of `EPSILONS`."""
        counts = count_right(model, test["images"], test["labels"], EPSILONS)
        return np.array(counts) / len(test["images"])

    def accuracy_under_pgd(
        self, model: LeNet, test: Mapping[str, np.ndarray], *, seed: int = 0
    ) -> float:
        """The share of images that are right without an attack and after PGD from every start.

        PGD takes 40 steps of 0.01 from ten random starts. With MNIST's 10,000 images it takes
        minutes on a CPU.

        Args:
            model: The network.
            test: "images" and "labels".
            seed: Seed of the starts.
        """
        images, labels = test["images"], test["labels"]
        rng = np.random.default_rng(seed)
        shape = images.shape
        starts = (
            EPSILON * rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(PGD_RESTARTS)
        )
        size = min(_BATCH, len(images))
        clean = attacks.in_batches(lambda *batch: _right(model, *batch), (images, labels), size)
        survived = attacks.right_after_all(
            lambda *batch: _right_after_pgd(model, *batch), images, labels, starts, _BATCH
        )
        return float(clean[survived].sum() / len(images))

    def evaluate(self, model: nnx.Module, data: system.Data) -> dict[str, float]:
        """The share of right answers without an attack, and after one with epsilon 0.3."""
        assert isinstance(model, LeNet)
        found = self.accuracies(model, data.test)
        return {"accuracy": float(found[0]), "attacked": float(found[-1])}

    def results(
        self, model: nnx.Module, data: system.Data, history: Sequence[Mapping[str, float]]
    ) -> list[float]:
        """The accuracies at the study's epsilons; for a defence also under PGD."""
        del history
        assert isinstance(model, LeNet)
        found = [float(value) for value in self.accuracies(model, data.test)]
        if not self.settings.defended:
            return found
        first = {name: values[:PGD_IMAGES] for name, values in data.test.items()}
        return [found[0], found[-1], self.accuracy_under_pgd(model, first)]

    def draw_pictures(
        self,
        model: nnx.Module,
        data: system.Data,
        history: Sequence[Mapping[str, float]],
        folder: Path,
    ) -> None:
        """The accuracy over epsilon beside the study's, attacked digits, and the training."""
        assert isinstance(model, LeNet)
        with pictures.figure(folder / "accuracy.png") as axes:
            axes.plot(EPSILONS, STUDY_ACCURACIES, "--", color="C1", label="study, no defence")
            axes.plot(EPSILONS, self.accuracies(model, data.test), "-o", color="C0", label="here")
            axes.set(xlabel="epsilon", ylabel="accuracy under FGSM", ylim=(0, 1.02))
            axes.legend()
        names = {"accuracy": "test", "attacked": "test, epsilon 0.3"}
        pictures.curves(folder / "training.png", history, names, {}, "accuracy")
        examples = [
            pictures.Row(f"{epsilon:g}", *_examples(model, data.test, epsilon))
            for epsilon in EPSILONS
        ]
        pictures.titled_grid(folder / "examples.png", examples, "epsilon")

    def weights(self, model: nnx.Module) -> Mapping[str, Weight]:
        """The layers as PyTorch's state_dict names them."""
        assert isinstance(model, LeNet)
        return conv_weights(model, ("conv1", "conv2")) | linear_weights(model, ("fc1", "fc2"))


def attack(
    model: LeNet,
    images: Float[Array, "batch 28 28"],
    labels: Int[Array, " batch"],
    epsilon: float,
) -> Float[Array, "batch 28 28"]:
    """The images after one step of size `epsilon` along the sign of the loss's gradient.

    Args:
        model: The network.
        images: Pixels from 0 to 1.
        labels: The true labels.
        epsilon: The largest change of a pixel.

    Returns:
        The attacked images, with pixels from 0 to 1.
    """
    attacked, _, _ = _attacked(
        model, jnp.asarray(images), jnp.asarray(labels), jnp.float32(epsilon)
    )
    return attacked


def count_right(
    model: LeNet,
    images: Float[np.ndarray, "images 28 28"],
    labels: Int[np.ndarray, " images"],
    epsilons: Sequence[float],
) -> list[int]:
    """How many images are right after the attack, for each epsilon.

    An image that is wrong without an attack counts as wrong, as the study counted.

    Args:
        model: The network.
        images: Pixels from 0 to 1, at least one image.
        labels: The true labels.
        epsilons: The largest changes of a pixel.
    """
    sizes = jnp.asarray(epsilons, jnp.float32)
    arrays = (np.asarray(images), np.asarray(labels))
    right = attacks.in_batches(
        lambda some, truth: _right_after_fgsm(model, some, truth, sizes),
        arrays,
        min(_BATCH, len(labels)),
    )
    return [int(count) for count in right.sum(axis=1)]


@nnx.jit
def _right(
    model: LeNet, images: Float[Array, "batch 28 28"], labels: Int[Array, " batch"]
) -> Bool[Array, " batch"]:
    return predict(model, images) == labels


@nnx.jit
def _right_after_fgsm(
    model: LeNet,
    images: Float[Array, "batch 28 28"],
    labels: Int[Array, " batch"],
    epsilons: Float[Array, " epsilons"],
) -> Bool[Array, "epsilons batch"]:
    """Whether each image is right before the attack and after it, for each epsilon."""
    # One gradient serves all epsilons. They are not in a loop, because XLA would use one core.
    gradient = image_gradient(model)(images, labels)
    attacked = [attacks.fgsm(lambda *_: gradient, images, labels, e) for e in epsilons]
    return _right(model, images, labels) & jnp.stack([_right(model, e, labels) for e in attacked])


def predict(model: LeNet, images: Float[Array, "batch 28 28"]) -> Int[Array, " batch"]:
    """The most probable digits; the first of equals."""
    return jnp.argmax(model(images), axis=1)


@nnx.jit
def _right_after_pgd(
    model: LeNet,
    images: Float[Array, "batch 28 28"],
    labels: Int[Array, " batch"],
    start: Float[Array, "batch 28 28"],
) -> Bool[Array, " batch"]:
    attacked = attacks.pgd(
        image_gradient(model),
        images,
        labels,
        start,
        epsilon=EPSILON,
        step=PGD_STEP,
        steps=PGD_STEPS,
    )
    return predict(model, attacked) == labels


@nnx.jit
def _attacked(
    model: LeNet,
    images: Float[Array, "batch 28 28"],
    labels: Int[Array, " batch"],
    epsilon: Float[Array, ""],
) -> tuple[Float[Array, "batch 28 28"], Int[Array, " batch"], Int[Array, " batch"]]:
    """The attacked images, and what they are taken for before and after."""
    attacked = attacks.fgsm(image_gradient(model), images, labels, epsilon)
    return attacked, predict(model, images), predict(model, attacked)


def _examples(
    model: LeNet, test: Mapping[str, np.ndarray], epsilon: float, count: int = 5
) -> tuple[np.ndarray, list[str]]:
    """The first images that the attack turns from right to wrong; for epsilon 0 the first right."""
    images, labels = (test[name][:_BATCH] for name in ("images", "labels"))
    attacked, before, after = map(
        np.asarray, _attacked(model, jnp.asarray(images), jnp.asarray(labels), jnp.float32(epsilon))
    )
    shown = (before == labels) & ((after != labels) | (epsilon == 0))
    rows = np.flatnonzero(shown)[:count]
    return attacked[rows], [f"{before[row]} → {after[row]}" for row in rows]


SYSTEM = FGSMSystem()
