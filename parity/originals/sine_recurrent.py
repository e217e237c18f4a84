"""The recurrent cell in today's PyTorch, as an original to compare with."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from parity.system_case import Arrays, Step, SystemCase, SystemOriginal
from reference import sine_recurrent


class SineRecurrentOriginal(SystemOriginal):
    """`reference.sine_recurrent` with prescribed weights."""

    def __init__(self, case: SystemCase) -> None:
        self.case = case
        self.name = f"PyTorch {torch.__version__}".split("+")[0]

    def initial(self, seed: int) -> Arrays:
        """The two matrices of a seed."""
        return {name: value.numpy() for name, value in sine_recurrent.initial(seed).items()}

    def live(self, weights: Arrays) -> object:
        """A state_dict."""
        return _tensors(weights, "float32")

    def outputs(self, weights: Arrays, batch: Arrays, dtype: str) -> Arrays:
        """The predictions for the batch as a sequence."""
        found = sine_recurrent.predict(_tensors(weights, dtype), _tensors(batch, dtype)["x"])
        return {"output": found.numpy()}

    def value_and_gradients(self, weights: Arrays, batch: Arrays, noise: Any, dtype: str) -> Arrays:
        """The loss of the first time step, from the case's state."""
        del noise
        leaves, given = _tensors(weights, dtype), _tensors(batch, dtype)
        assert self.case.carry is not None
        state = torch.tensor(self.case.carry.astype(dtype))[None]
        parameters = [leaves[name].requires_grad_() for name in ("w1", "w2")]
        prediction, _ = sine_recurrent.cell(given["x"][:1, None], state, *parameters)
        loss = (prediction - given["y"][0]).pow(2).sum() / 2
        loss.backward()
        gradients = {name: _grad(value) for name, value in leaves.items()}
        return {"loss": np.asarray(loss.detach()), **gradients}

    def optimise(self, weights: Arrays, gradients: Sequence[Arrays]) -> Arrays:
        """PyTorch's SGD, which the study wrote out by hand."""
        leaves = _tensors(weights, "float64")
        optimizer = torch.optim.SGD(leaves.values(), lr=sine_recurrent.LEARNING_RATE)
        for one in gradients:
            for name, value in leaves.items():
                value.grad = torch.tensor(one[name])
            optimizer.step()
        return {name: value.numpy() for name, value in leaves.items()}

    def train(self, weights: Arrays, epochs: Iterable[Iterable[Step]]) -> Arrays:
        """The study's training in float64; its order is always the sequence's."""
        leaves, every = _tensors(weights, "float64"), [list(steps) for steps in epochs]
        given = _tensors(
            {name: np.concatenate([step.batch[name] for step in every[0]]) for name in "xy"},
            "float64",
        )
        sums = sine_recurrent.train(leaves, given["x"], given["y"])
        losses = list(itertools.islice(sums, len(every)))
        trained = {name: value.detach().numpy() for name, value in leaves.items()}
        return {"loss": np.array(losses), **trained}


def _tensors(arrays: Arrays, dtype: str) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(np.asarray(value).astype(dtype)) for name, value in arrays.items()}


def _grad(value: torch.Tensor) -> np.ndarray:
    assert value.grad is not None
    return value.grad.numpy()
