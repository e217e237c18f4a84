"""A dense network fits a sine: 1-5-5-1, 63,000 updates of one point each (Keras)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from chifoumi_jax.systems import system
from chifoumi_jax.systems.pictures import figure
from chifoumi_jax.systems.weights import Weight


class SineDense(nnx.Module):
    """Dense layers of 5, 5 and 1 units, with tanh between them; 46 parameters."""

    def __init__(self, rngs: nnx.Rngs):
        glorot = nnx.initializers.glorot_uniform()
        self.dense_1 = nnx.Linear(1, 5, kernel_init=glorot, rngs=rngs)
        self.dense_2 = nnx.Linear(5, 5, kernel_init=glorot, rngs=rngs)
        self.dense_3 = nnx.Linear(5, 1, kernel_init=glorot, rngs=rngs)

    def __call__(self, x: Float[Array, "batch 1"]) -> Float[Array, "batch 1"]:
        """The fitted values at the angles `x`."""
        return self.dense_3(jnp.tanh(self.dense_2(jnp.tanh(self.dense_1(x)))))


class SineDenseSystem(system.System):
    """The study's settings of this system."""

    name = "sine-dense"
    title = "a dense network fits a sine"
    framework = "Keras"
    # The study called the error times 100 a percentage; it is none.
    figures = (system.Figure("mean squared error x 100", "0.01 %"),)
    epochs = 1_000
    batch_size = 1
    epochs_per_call = 250
    quick = (1_000, None)

    def create(self, rngs: nnx.Rngs) -> SineDense:
        """The network with Keras' initial distributions: Glorot-uniform kernels, zero biases."""
        return SineDense(rngs)

    def data(self, source: str | Path | None = None) -> system.Data:
        """63 angles from 0 to 6.2 and their sines; the study tested on the same points."""
        self.refuse_source(source)
        angles = np.arange(0, 6.3, 0.1)
        points = {
            "x": angles.astype(np.float32)[:, None],
            "y": np.sin(angles).astype(np.float32)[:, None],
        }
        return system.Data(points, points, "sin x at x = 0, 0.1, ..., 6.2")

    def optimizer(self) -> optax.GradientTransformation:
        """Keras' SGD with its default learning rate."""
        return optax.sgd(0.01)

    def orders(self, examples: int, seed: int) -> Iterator[Int[np.ndarray, " examples"]]:
        """Keras 2.2.4 shuffles one array of indices in place, again and again."""
        return system.shuffled_in_place(examples, seed)

    def loss(
        self, model: nnx.Module, batch: Mapping[str, Array], carry: Any, noise: Any
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Any]]:
        """The mean squared error of the batch."""
        del noise
        assert isinstance(model, SineDense)
        error = jnp.mean((model(batch["x"]) - batch["y"]) ** 2)
        return error, (error, carry)

    def outputs(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The two hidden layers after tanh, and the fitted values."""
        assert isinstance(model, SineDense)
        first = jnp.tanh(model.dense_1(batch["x"]))
        second = jnp.tanh(model.dense_2(first))
        return {"dense_1": first, "dense_2": second, "output": model(batch["x"])}

    def results(
        self, model: nnx.Module, data: system.Data, history: Sequence[Mapping[str, float]]
    ) -> list[float]:
        """The mean squared error of all points, times 100."""
        del history
        assert isinstance(model, SineDense)
        error = model(jnp.asarray(data.test["x"])) - data.test["y"]
        return [100 * float(jnp.mean(error**2))]

    def draw_pictures(
        self,
        model: nnx.Module,
        data: system.Data,
        history: Sequence[Mapping[str, float]],
        folder: Path,
    ) -> None:
        """`fit.png`: the sine and the network's values."""
        del history
        assert isinstance(model, SineDense)
        x, y = data.test["x"][:, 0], data.test["y"][:, 0]
        with figure(folder / "fit.png") as axes:
            axes.plot(x, y, "o", color="0.6", markersize=4, label="sin x")
            axes.plot(x, np.asarray(model(jnp.asarray(data.test["x"])))[:, 0], label="network")
            axes.set(xlabel="x", ylabel="value", title="A sine fitted by 46 parameters")
            axes.legend()

    def weights(self, model: nnx.Module) -> Mapping[str, Weight]:
        """Kernels and biases of the three layers, as `get_weights` of Keras lists them."""
        assert isinstance(model, SineDense)
        layers = {"dense_1": model.dense_1, "dense_2": model.dense_2, "dense_3": model.dense_3}
        return {
            f"{name}/{kind}": Weight(getattr(layer, kind))
            for name, layer in layers.items()
            for kind in ("kernel", "bias")
        }


SYSTEM = SineDenseSystem()
