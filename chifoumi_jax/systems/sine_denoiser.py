"""Recurrent denoisers of a sine: an RNN, one in both directions, and a GRU in both (PyTorch).

The study found the GRU the best, with a mean absolute error of 0.0339 for 2,000 test curves.
"""

from __future__ import annotations

import functools
import math
import random
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
from chifoumi_jax.systems import system
from chifoumi_jax.systems.layers import uniform
from chifoumi_jax.systems.pictures import figure
from chifoumi_jax.systems.weights import Weight

HIDDEN = 30
TIMES = 100
PERIOD = 60
NOISE = 0.35
# Numbers of curves to train and to test on.
CURVES = (8_000, 2_000)
# Curves whose gradients are computed together. With all 8,000 the values that the backward pass
# needs leave the processor's caches, and a step takes 1.3 times as long.
_CHUNK = 1_000
# The study's losses at iterations 0, 20, 40, …
STUDY_LOSSES = {
    "bigru": (
        *(0.5939, 0.0997, 0.0896, 0.0832, 0.0645, 0.0494),
        *(0.0450, 0.0372, 0.0356, 0.0344, 0.0332),
    ),
    "rnn": (
        *(0.6711, 0.1266, 0.1128, 0.1104, 0.1080, 0.0960, 0.1178, 0.1085),
        *(0.1039, 0.0969, 0.0826, 0.0778, 0.1137, 0.0988, 0.0906, 0.0779),
    ),
    "birnn": (
        *(0.6838, 0.0912, 0.0743, 0.0705, 0.0718, 0.0651, 0.0622, 0.0646),
        *(0.0620, 0.0548, 0.0498, 0.0536, 0.0517, 0.0537, 0.0459, 0.0433),
    ),
}
_ITERATIONS_BETWEEN_PRINTS = 20
_TEST_LOSSES = {"bigru": "0.0339", "rnn": "0.0778", "birnn": "0.0444"}
# The study numbers them from 0 to 300 or 200.
_ITERATIONS = {"bigru": 201, "rnn": 301, "birnn": 301}


class Cell(nnx.Module):
    """A recurrent cell with PyTorch's weights in PyTorch's layout.

    It has a bias for the input and one for the state. Both are trained, because Adam moves their
    sum about twice as fast as it would move a single bias.

    Attributes:
        gates: Number of blocks of `HIDDEN` rows in each weight.
    """

    gates: ClassVar[int]

    def __init__(self, rngs: nnx.Rngs):
        draw, rows = uniform(1 / math.sqrt(HIDDEN)), self.gates * HIDDEN
        self.weight_ih = nnx.Param(draw(rngs.params(), (rows, 1), jnp.float32))
        self.weight_hh = nnx.Param(draw(rngs.params(), (rows, HIDDEN), jnp.float32))
        self.bias_ih = nnx.Param(draw(rngs.params(), (rows,), jnp.float32))
        self.bias_hh = nnx.Param(draw(rngs.params(), (rows,), jnp.float32))

    def __call__(
        self, state: Float[Array, "hidden batch"], x: Float[Array, " batch"]
    ) -> Float[Array, "hidden batch"]:
        """The next state. Curves lie side by side, so that a gate is a block of whole rows."""
        from_input = self.weight_ih[...] * x + self.bias_ih[...][:, None]
        from_state = self.weight_hh[...] @ state + self.bias_hh[...][:, None]
        return self.next_state(state, from_input, from_state)

    def next_state(
        self,
        state: Float[Array, "hidden batch"],
        from_input: Float[Array, "rows batch"],
        from_state: Float[Array, "rows batch"],
    ) -> Float[Array, "hidden batch"]:
        """The next state from both linear maps."""
        raise NotImplementedError


class RNNCell(Cell):
    """Elman's cell with tanh; 990 parameters."""

    gates = 1

    def next_state(
        self,
        state: Float[Array, "hidden batch"],
        from_input: Float[Array, "rows batch"],
        from_state: Float[Array, "rows batch"],
    ) -> Float[Array, "hidden batch"]:
        """The hyperbolic tangent of the sum."""
        del state
        return jnp.tanh(from_input + from_state)


class GRUCell(Cell):
    """PyTorch's gated recurrent unit; 2,970 parameters.

    The rows are those of the reset gate, of the update gate and of the new state. The reset gate
    multiplies after the state's matrix and bias. Keras' default of 2018 multiplies before.
    """

    gates = 3

    def next_state(
        self,
        state: Float[Array, "hidden batch"],
        from_input: Float[Array, "rows batch"],
        from_state: Float[Array, "rows batch"],
    ) -> Float[Array, "hidden batch"]:
        """A mixture of the new state and the old one."""
        gates = jax.nn.sigmoid(from_input[: 2 * HIDDEN] + from_state[: 2 * HIDDEN])
        reset, update = gates[:HIDDEN], gates[HIDDEN:]
        new = jnp.tanh(from_input[2 * HIDDEN :] + reset * from_state[2 * HIDDEN :])
        return (1 - update) * new + update * state


_CELLS: Mapping[str, type[Cell]] = {"bigru": GRUCell, "rnn": RNNCell, "birnn": RNNCell}


class SineDenoiser(nnx.Module):
    """A recurrent layer, and for each time step a linear layer with tanh.

    1,021 parameters as "rnn", 2,041 as "birnn", 6,001 as "bigru".
    """

    def __init__(self, variant: str, rngs: nnx.Rngs):
        kind = _CELLS[variant]
        self.forward = kind(rngs)
        self.backward = None if variant == "rnn" else kind(rngs)
        inputs = HIDDEN if self.backward is None else 2 * HIDDEN
        draw = uniform(1 / math.sqrt(inputs))
        self.weight = nnx.Param(draw(rngs.params(), (1, inputs), jnp.float32))
        self.bias = nnx.Param(draw(rngs.params(), (1,), jnp.float32))

    def states(self, noisy: Float[Array, "batch time"]) -> Float[Array, "time hidden batch"]:
        """The states of all time steps, those of the forward direction first."""
        found = [_run(self.forward, noisy, reverse=False)]
        if self.backward is not None:
            found.append(_run(self.backward, noisy, reverse=True))
        return jnp.concatenate(found, axis=1)

    def read_out(self, states: Float[Array, "time hidden batch"]) -> Float[Array, "batch time"]:
        """The curves that the states mean, with values from -1 to 1."""
        summed = jnp.einsum("thb,h->bt", states, self.weight[...][0])
        return jnp.tanh(summed + self.bias[...])

    def denoise(self, noisy: Float[Array, "batch time"]) -> Float[Array, "batch time"]:
        """The denoised curves."""
        return self.read_out(self.states(noisy))

    def __call__(self, noisy: Float[Array, "batch time 1"]) -> Float[Array, "batch time 1"]:
        """The denoised curves, in the shape that the original takes."""
        return self.denoise(noisy[..., 0])[..., None]


def _run(
    cell: Cell, noisy: Float[Array, "batch time"], *, reverse: bool
) -> Float[Array, "time hidden batch"]:
    """The states after each time step, from a state of zero at the first or at the last one."""

    def step(state: Array, x: Array) -> tuple[Array, Array]:
        state = cell(state, x)
        return state, state

    start = jnp.zeros((HIDDEN, len(noisy)), noisy.dtype)
    return jax.lax.scan(step, start, noisy.T, reverse=reverse)[1]


def loss(
    model: SineDenoiser, noisy: Float[Array, "batch time"], clean: Float[Array, "batch time"]
) -> Float[Array, ""]:
    """The mean absolute error of all values."""
    return jnp.abs(model.denoise(noisy) - clean).mean()


@functools.lru_cache(maxsize=2)
def curves(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy and clean sines of period 60, float32 `[count, 100]` each.

    The offsets are integers from 0 to 100, as Python's generator draws them; the study did not seed
    it. The noise is uniform in ±0.35, from NumPy's generator with seed 0. The study had drawn 200
    numbers for a picture before.

    Args:
        count: Number of curves.
        seed: Seed of the offsets.
    """
    generator, rng = random.Random(seed), np.random.RandomState(0)
    offsets = np.array([generator.randint(0, 100) for _ in range(count)])
    clean = np.sin(2 * np.pi * (np.arange(TIMES) + offsets[:, None]) / PERIOD)
    rng.uniform(-NOISE, NOISE, 200)
    noisy = clean + rng.uniform(-NOISE, NOISE, clean.shape)
    return noisy.astype(np.float32), clean.astype(np.float32)


class SineDenoiserSystem(system.System):
    """The study's settings of this system."""

    name = "sine-denoiser"
    title = "recurrent networks take the noise from a sine"
    framework = "PyTorch"
    variants = ("bigru", "rnn", "birnn")
    epochs_per_call = _ITERATIONS_BETWEEN_PRINTS
    quick = (61, 1_000)

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self.epochs = _ITERATIONS[self.variant]
        # Every iteration uses all curves.
        self.batch_size = CURVES[0]
        self.figures = (system.Figure("test error (mean absolute)", _TEST_LOSSES[self.variant]),)

    def create(self, rngs: nnx.Rngs) -> SineDenoiser:
        """The network with PyTorch's initial distributions."""
        return SineDenoiser(self.variant, rngs)

    def data(self, source: str | Path | None = None) -> system.Data:
        """10,000 pairs of curves, of which the last 2,000 are for the test."""
        self.refuse_source(source)
        pairs = dict(zip(("noisy", "clean"), curves(sum(CURVES)), strict=True))
        cut = CURVES[0]
        return system.Data(
            {name: values[:cut] for name, values in pairs.items()},
            {name: values[cut:] for name, values in pairs.items()},
            "sines of period 60 with uniform noise of 0.35",
        )

    def optimizer(self) -> optax.GradientTransformation:
        """Adam as PyTorch had it before version 1.3."""
        return keras_adam(1e-2, eps=1e-8)

    def orders(self, examples: int, seed: int) -> Iterator[Int[np.ndarray, " examples"]]:
        """All curves at once, always in the same order."""
        del seed
        while True:
            yield np.arange(examples)

    def loss(
        self, model: nnx.Module, batch: Mapping[str, Array], carry: Any, noise: Any
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Any]]:
        """The mean absolute error."""
        del noise
        assert isinstance(model, SineDenoiser)
        value = loss(model, batch["noisy"], batch["clean"])
        return value, (value, carry)

    def gradients(
        self,
        graph: nnx.GraphDef[Any],
        state: system.State,
        batch: Mapping[str, Array],
        noise: Any,
    ) -> tuple[Any, system.Gradients]:
        """The mean of the gradients of `_CHUNK` curves at a time."""
        chunks, rest = divmod(len(batch["noisy"]), _CHUNK)
        if rest or chunks == 1:
            return super().gradients(graph, state, batch, noise)
        parts = {name: x.reshape(chunks, _CHUNK, TIMES) for name, x in batch.items()}
        whole = super().gradients

        def add(total: Any, part: Mapping[str, Array]) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, whole(graph, state, part, noise)), None

        shapes = jax.eval_shape(lambda one: whole(graph, state, one, noise), _first(parts))
        zeros = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), shapes)
        total, _ = jax.lax.scan(add, zeros, parts)
        mean: tuple[Any, system.Gradients] = jax.tree.map(lambda one: one / chunks, total)
        return mean

    def evaluate(self, model: nnx.Module, data: system.Data) -> dict[str, float]:
        """The mean absolute error of the test's curves."""
        assert isinstance(model, SineDenoiser)
        found = _test_loss(model, *(jnp.asarray(data.test[name]) for name in ("noisy", "clean")))
        return {"test_loss": float(found)}

    def outputs(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The states, as PyTorch returns them, and the denoised curves."""
        assert isinstance(model, SineDenoiser)
        states = model.states(batch["noisy"])
        return {"states": states.transpose(2, 0, 1), "output": model.read_out(states)}

    def results(
        self, model: nnx.Module, data: system.Data, history: Sequence[Mapping[str, float]]
    ) -> list[float]:
        """The last test error."""
        del model, data
        return [history[-1]["test_loss"]]

    def draw_pictures(
        self,
        model: nnx.Module,
        data: system.Data,
        history: Sequence[Mapping[str, float]],
        folder: Path,
    ) -> None:
        """`denoised.png`, a curve of the test, and `loss.png`, with the study's losses."""
        assert isinstance(model, SineDenoiser)
        # The study drew this row.
        row = min(100, len(data.test["noisy"]) - 1)
        noisy, clean = (data.test[name][row] for name in ("noisy", "clean"))
        with figure(folder / "denoised.png") as axes:
            axes.plot(noisy, ".", color="0.7", label="with noise")
            axes.plot(clean, color="0.3", linewidth=1, label="without noise")
            axes.plot(np.asarray(model.denoise(jnp.asarray(noisy[None])))[0], label="denoised")
            axes.set(xlabel="time step", ylabel="value", title=f"A curve of the test, {self.label}")
            axes.legend()
        with figure(folder / "loss.png") as axes:
            epochs = [row["epoch"] for row in history]
            axes.semilogy(epochs, [row["loss"] for row in history], label="training")
            tested = [row for row in history if "test_loss" in row]
            axes.semilogy(
                [row["epoch"] for row in tested],
                [row["test_loss"] for row in tested],
                "x",
                label="test",
            )
            study = STUDY_LOSSES[self.variant]
            iterations = [1 + _ITERATIONS_BETWEEN_PRINTS * i for i in range(len(study))]
            axes.semilogy(iterations, study, "o", markersize=4, label="training, study")
            axes.set(xlabel="iteration", ylabel="mean absolute error")
            axes.legend()

    def weights(self, model: nnx.Module) -> Mapping[str, Weight]:
        """The layers as PyTorch's state_dict names them."""
        assert isinstance(model, SineDenoiser)
        found: dict[str, Weight] = {}
        for cell, end in ((model.forward, ""), (model.backward, "_reverse")):
            if cell is not None:
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    found[f"rnn.{name}_l0{end}"] = Weight(getattr(cell, name))
        return found | {"fc.weight": Weight(model.weight), "fc.bias": Weight(model.bias)}


def _first(parts: Mapping[str, Array]) -> dict[str, Array]:
    return {name: values[0] for name, values in parts.items()}


@nnx.jit
def _test_loss(
    model: SineDenoiser, noisy: Float[Array, "batch time"], clean: Float[Array, "batch time"]
) -> Float[Array, ""]:
    return loss(model, noisy, clean)


SYSTEM = SineDenoiserSystem()
