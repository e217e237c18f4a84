"""A recurrent cell written by hand predicts a sine's next value (PyTorch).

The weights are updated after every time step, and gradients never cross a time step.
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
from jaxtyping import Array, Float, Int

from chifoumi_jax.systems import system
from chifoumi_jax.systems.pictures import figure
from chifoumi_jax.systems.weights import Weight

HIDDEN = 6
# The sums that the study printed after epochs 0, 10, ..., 190, with PyTorch's seed 1.
PRINTED_SUMS = (
    *(0.7782846093, 0.2020049691, 0.1194792241, 0.0943272114, 0.0850503743),
    *(0.0807290077, 0.0779546276, 0.0756682977, 0.0735776499, 0.0716219693),
    *(0.0697977319, 0.0681074038, 0.0665488616, 0.0651154518, 0.0637973323),
    *(0.0625840202, 0.0614643916, 0.0604278184, 0.0594649166, 0.0585667081),
)


class SineRecurrent(nnx.Module):
    """A tanh cell with six states and no biases; 48 parameters.

    Row 0 of `w1` multiplies the input, rows 1 to 6 the previous state.
    """

    def __init__(self, rngs: nnx.Rngs):
        self.w1 = nnx.Param(0.4 * jax.random.normal(rngs.params(), (1 + HIDDEN, HIDDEN)))
        self.w2 = nnx.Param(0.3 * jax.random.normal(rngs.params(), (HIDDEN, 1)))

    def cell(
        self, x: Float[Array, ""], state: Float[Array, " hidden"]
    ) -> tuple[Float[Array, ""], Float[Array, " hidden"]]:
        """The prediction after input `x`, and the next state."""
        state = jnp.tanh(jnp.concatenate([x[None], state]) @ self.w1[...])
        return (state @ self.w2[...])[0], state

    def __call__(self, x: Float[Array, " time"]) -> Float[Array, " time"]:
        """The predictions for a sequence of true inputs, from a state of zero."""

        def step(state: Array, value: Array) -> tuple[Array, Array]:
            prediction, state = self.cell(value, state)
            return state, prediction

        return jax.lax.scan(step, jnp.zeros(HIDDEN, x.dtype), x)[1]


class SineRecurrentSystem(system.System):
    """The study's settings of this system."""

    name = "sine-recurrent"
    title = "a recurrent cell by hand predicts a sine's next value"
    framework = "PyTorch"
    figures = (
        system.Figure("sum of the losses of epoch 1", "0.7783 (seed 1)"),
        system.Figure("sum of the losses of epoch 191", "0.0586 (seed 1)"),
    )
    epochs = 200
    batch_size = 1
    epochs_per_call = 200
    quick = (200, None)
    bounded_initial = False

    def create(self, rngs: nnx.Rngs) -> SineRecurrent:
        """The cell with normal weights, of standard deviations 0.4 and 0.3."""
        return SineRecurrent(rngs)

    def data(self, source: str | Path | None = None) -> system.Data:
        """201 values of a sine from 2 to 10: each of the first 200 is followed by its target."""
        self.refuse_source(source)
        values = np.sin(np.linspace(2, 10, 201)).astype(np.float32)
        return system.Data({"x": values[:-1], "y": values[1:]}, {}, "sin t, t = 2, 2.04, ..., 10")

    def optimizer(self) -> optax.GradientTransformation:
        """Plain gradient descent."""
        return optax.sgd(0.05)

    def orders(self, examples: int, seed: int) -> Iterator[Int[np.ndarray, " examples"]]:
        """Always the sequence's own order."""
        del seed
        while True:
            yield np.arange(examples)

    def initial_carry(self) -> Float[Array, " hidden"]:
        """A state of zero at the start of each epoch."""
        return jnp.zeros(HIDDEN)

    def loss(
        self, model: nnx.Module, batch: Mapping[str, Array], carry: Any, noise: Any
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Any]]:
        """Half the squared error of one time step; the gradient ends at the previous state."""
        del noise
        assert isinstance(model, SineRecurrent)
        prediction, state = model.cell(batch["x"][0], jax.lax.stop_gradient(carry))
        error = (prediction - batch["y"][0]) ** 2 / 2
        return error, (error, state)

    def printed(self, losses: Float[np.ndarray, " steps"], sizes: Sequence[int]) -> float:
        """The sum of the losses of all time steps."""
        del sizes
        return float(np.sum(losses, dtype=np.float64))

    def outputs(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The predictions for the batch as a sequence."""
        assert isinstance(model, SineRecurrent)
        return {"output": model(batch["x"])}

    def results(
        self, model: nnx.Module, data: system.Data, history: Sequence[Mapping[str, float]]
    ) -> list[float]:
        """The sums of the first epoch and of the 191st, or of the last one if there are fewer."""
        del model, data
        return [history[0]["loss"], history[min(190, len(history) - 1)]["loss"]]

    def draw_pictures(
        self,
        model: nnx.Module,
        data: system.Data,
        history: Sequence[Mapping[str, float]],
        folder: Path,
    ) -> None:
        """`prediction.png` and `loss.png`, with the study's sums."""
        assert isinstance(model, SineRecurrent)
        times = np.linspace(2, 10, 201)
        with figure(folder / "prediction.png") as axes:
            axes.plot(times[1:], data.train["y"], "o", color="0.6", markersize=3, label="sin t")
            axes.plot(times[1:], np.asarray(model(jnp.asarray(data.train["x"]))), label="predicted")
            axes.set(xlabel="t", ylabel="value", title="The next value, from the true ones before")
            axes.legend()
        with figure(folder / "loss.png") as axes:
            axes.semilogy([row["epoch"] for row in history], [row["loss"] for row in history])
            axes.semilogy(range(1, 200, 10), PRINTED_SUMS, "o", markersize=4, label="study")
            axes.set(xlabel="epoch", ylabel="sum of 200 losses", title="Training")
            axes.legend()

    def weights(self, model: nnx.Module) -> Mapping[str, Weight]:
        """The two matrices, which the study named in this way."""
        assert isinstance(model, SineRecurrent)
        return {"w1": Weight(model.w1), "w2": Weight(model.w2)}


SYSTEM = SineRecurrentSystem()
