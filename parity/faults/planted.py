"""Negative controls: faults that are typical of ports, planted one at a time.

Each fault names the rung that must find it; no lower rung may find it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array
from PIL import Image

from chifoumi_jax import losses
from chifoumi_jax.data.order import Order
from chifoumi_jax.optim import keras_adam, torch_sgd
from chifoumi_jax.systems.system import System
from chifoumi_jax.training.step import scale_keras
from parity.candidate import Candidate, Weights
from parity.check import RUNGS, Check, Verdict, run_check
from parity.faults.plain_cnn import PlainCNN, convolve, pool_last
from parity.faults.small_systems import small_system_faults
from parity.systems import study_cnn
from parity.systems.registry import CASES
from reference import photos
from reference.legacy import seeded


@dataclasses.dataclass(frozen=True)
class Fault:
    """A port with one fault.

    Attributes:
        name: Short description of the fault.
        rung: Number of the rung that must find it.
        port: The faulty port.
    """

    name: str
    rung: int
    port: Candidate | System

    @property
    def candidate(self) -> str:
        """Name of the port without the fault."""
        return self.port.label if isinstance(self.port, System) else self.port.name


@dataclasses.dataclass(frozen=True)
class Detection:
    """Which rung found a planted fault.

    Attributes:
        fault: The fault.
        rung: The lowest rung that failed, or None.
        verdict: The first verdict that failed, or None.
    """

    fault: Fault
    rung: int | None
    verdict: Verdict | None

    @property
    def as_expected(self) -> bool:
        """Whether the expected rung was the first to find the fault."""
        return self.rung == self.fault.rung

    def sentence(self) -> str:
        """Which rung found the fault and in which quantity, or that no rung found it."""
        if self.verdict is None:
            return "NOT FOUND"
        first = self.verdict.first
        return f"rung {self.rung} ({RUNGS[self.rung or 0]}): " + (
            first.sentence() if first is not None else self.verdict.message
        )


def detect(fault: Fault, ladder: Sequence[Check]) -> Detection:
    """Run the quick checks of the faulty port, from rung 1 to the fault's rung, until one fails."""
    for check in sorted(ladder, key=lambda check: check.rung):
        if check.quick and check.candidate == fault.candidate and check.rung <= fault.rung:
            verdict = run_check(check, fault.port)
            if verdict.status == "FAIL":
                return Detection(fault, check.rung, verdict)
    return Detection(fault, None, None)


def planted_faults() -> Iterator[Fault]:
    """All faults, from the lowest rung to the highest."""
    cnn, mlp, mlp_v21 = (CASES[n].port for n in ("study-cnn", "study-mlp", "study-mlp-v21"))

    def first_same(x: Array, kernel: Array, bias: Array) -> Array:
        return convolve(x, kernel, bias, "SAME")

    padded = PlainCNN(convolve=(first_same, convolve, convolve)).candidate()
    yield Fault("SAME padding in the first convolution", 1, padded)
    yield Fault("an initial distribution for ReLU (He)", 2, cnn.replace(initial=_he(cnn)))
    yield Fault("biases that start at zero", 2, mlp.replace(initial=_zero_biases(mlp)))
    yield Fault("BILINEAR instead of NEAREST", 3, cnn.replace(resize=_bilinear))
    yield Fault("pixels / 256", 3, cnn.replace(scale=_by_256))
    yield Fault("pixels * (1 / 255) instead of pixels / 255", 3, mlp.replace(scale=scale_keras))
    yield Fault("gray conversion of today's Pillow", 3, mlp.replace(resize=_todays_gray))
    yield Fault("every epoch shows every image", 3, cnn.replace(order=_whole_epochs))
    yield Fault("a transposed Dense", 4, cnn.replace(from_arrays=_transposed))
    yield Fault("flatten with the channels first", 5, _plain(flatten=_channels_first))
    yield Fault("a missing ReLU", 5, _plain(relu=(jax.nn.relu, _same, jax.nn.relu, jax.nn.relu)))
    yield Fault("a flipped kernel", 5, _plain(convolve=(convolve, _flipped, convolve)))
    yield Fault("no bias", 5, _plain(convolve=(convolve, convolve, _without_bias)))
    yield Fault("no ReLU after the last layer", 5, _open_logits(mlp_v21))
    yield Fault("jnp.maximum instead of ReLU", 6, _plain(relu=(partial(jnp.maximum, 0),) * 4))
    yield Fault("gradient to the last of equal maxima", 6, _plain(pool=pool_last))
    yield Fault("the unclipped loss of stock Keras 3", 6, cnn.replace(loss=losses.cross_entropy))
    yield Fault("one softmax instead of two", 6, mlp_v21.replace(loss=losses.cross_entropy))
    yield Fault("sum of the losses instead of the mean", 7, cnn.replace(reduce=jnp.sum))
    yield Fault("dropout left out", 7, cnn.replace(logits=_never_drops))
    yield Fault("dropout that does not scale", 7, _plain(drop=_unscaled))
    yield Fault("dropout rate swapped with the keep rate", 7, mlp.replace(logits=_swapped_rate))
    yield Fault("optax.adam(eps=1e-7)", 8, _with(cnn, lambda: optax.adam(1e-3, eps=1e-7)))
    yield Fault("epsilon 1e-8", 8, _with(cnn, lambda: keras_adam(eps=1e-8)))
    rounded = (float(np.float32(beta)) for beta in (0.9, 0.999))
    yield Fault("betas in float32", 8, _with(cnn, partial(keras_adam, 1e-3, *rounded)))
    yield Fault("learning rate inside the momentum buffer", 8, _with(mlp, _folded))
    yield Fault("Nesterov momentum", 8, _with(mlp, lambda: optax.sgd(0.01, 0.5, nesterov=True)))
    yield Fault("momentum as a moving average", 8, _with(mlp, _mean_momentum))
    schedule = optax.exponential_decay(1e-3, 1, 0.999)
    yield Fault("a learning rate that decays", 8, _with(cnn, lambda: keras_adam(schedule)))
    yield Fault(
        "a smaller batch's mean divided by the usual size", 9, cnn.replace(reduce=_usual_size)
    )
    for name, rung, system in small_system_faults():
        yield Fault(name, rung, system)


def _plain(**parts: Any) -> Candidate:
    return PlainCNN(**parts).candidate()


def _with(port: Candidate, optimizer: Callable[[], optax.GradientTransformation]) -> Candidate:
    return port.replace(optimizer=optimizer)


def _he(port: Candidate) -> Callable[[int], Weights]:
    def initial(seed: int) -> Weights:
        # Scales the Glorot-uniform range sqrt(6 / (fan_in + fan_out)) up to He's sqrt(6 / fan_in).
        return {
            name: value * np.sqrt(1 + value.shape[-1] / value.shape[-2])
            if value.ndim > 1
            else value
            for name, value in port.initial(seed).items()
        }

    return initial


def _zero_biases(port: Candidate) -> Callable[[int], Weights]:
    return lambda seed: {
        name: np.zeros_like(value) if name.endswith("bias") else value
        for name, value in port.initial(seed).items()
    }


def _bilinear(image: Image.Image, size: int) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def _by_256(pixels: Any) -> Array:
    return jnp.asarray(pixels).astype(jnp.float32) / 256


def _todays_gray(image: Image.Image, size: int) -> np.ndarray:
    return photos.torch_resize(image, size, stock=True)


def _whole_epochs(images: int, batch_size: int, epochs: int) -> list[np.ndarray]:
    order = Order(images, batch_size, epochs, seed=0, kind="all")
    return [batch[batch >= 0] for batch in (order[step] for step in range(len(order)))]


def _transposed(weights: Weights, image_size: int, dtype: Any) -> Any:
    kernel = weights["dense_1/kernel"]
    turned = np.ascontiguousarray(kernel.T).reshape(kernel.shape)
    changed = {**weights, "dense_1/kernel": turned}
    return study_cnn.PORT.from_arrays(changed, image_size, dtype)


def _channels_first(x: Array) -> Array:
    return x.transpose(0, 3, 1, 2).reshape(len(x), -1)


def _same(x: Array) -> Array:
    return x


def _flipped(x: Array, kernel: Array, bias: Array) -> Array:
    return convolve(x, kernel[::-1, ::-1], bias)


def _without_bias(x: Array, kernel: Array, bias: Array) -> Array:
    return convolve(x, kernel, jnp.zeros_like(bias))


def _open_logits(port: Candidate) -> Candidate:
    def from_arrays(weights: Weights, image_size: int, dtype: Any) -> Any:
        model = port.from_arrays(weights, image_size, dtype)
        model.relu_logits = False
        return model

    return port.replace(from_arrays=from_arrays)


def _unscaled(x: Array, mask: Array, rate: float) -> Array:
    del rate
    return jnp.where(mask, x, 0)


def _swapped_rate(model: Any, images: Array, masks: Any) -> Array:
    model = nnx.merge(*nnx.split(model))
    model.dropout_rate = 1 - model.dropout_rate
    logits: Array = model(images, masks)
    return logits


def _usual_size(losses_of_samples: Array) -> Array:
    return jnp.sum(losses_of_samples) / seeded.BATCH[64]


def _never_drops(model: Any, images: Array, masks: Any) -> Array:
    del masks
    logits: Array = model(images, None)
    return logits


def _folded() -> optax.GradientTransformation:
    return optax.chain(optax.scale(-0.01), optax.trace(0.5))


def _mean_momentum() -> optax.GradientTransformation:
    return optax.chain(optax.scale(0.5), torch_sgd(0.01, 0.5))
