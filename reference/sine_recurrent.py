"""The study's recurrent cell in PyTorch, written by hand: it predicts a sine's next value.

    python -m reference.sine_recurrent [--seed 1]

With seed 1 the study printed 20 sums, from 0.77828 to 0.05857.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from reference.run import Run

HIDDEN = 6
EPOCHS = 200
LEARNING_RATE = 0.05


def series() -> tuple[Tensor, Tensor]:
    """200 values of a sine from 2 to 10, and the value after each of them."""
    values = torch.sin(torch.linspace(2, 10, 201))
    return values[:-1], values[1:]


def initial(seed: int) -> dict[str, Tensor]:
    """The two matrices, in the order in which the study drew them."""
    torch.manual_seed(seed)
    return {
        "w1": torch.zeros(1 + HIDDEN, HIDDEN).normal_(0.0, 0.4),
        "w2": torch.zeros(HIDDEN, 1).normal_(0.0, 0.3),
    }


def cell(x: Tensor, state: Tensor, w1: Tensor, w2: Tensor) -> tuple[Tensor, Tensor]:
    """The prediction `[1, 1]` after input `x` `[1, 1]`, and the next state `[1, 6]`."""
    state = torch.tanh(torch.cat((x, state), 1).mm(w1))
    return state.mm(w2), state


def train(weights: dict[str, Tensor], inputs: Tensor, targets: Tensor) -> Iterator[float]:
    """Update `weights` after every time step; yields the sum of each epoch's losses, endlessly.

    The state is detached after each step, so that gradients never cross a time step.
    """
    parameters = [weights["w1"].requires_grad_(), weights["w2"].requires_grad_()]
    while True:
        total = torch.zeros((), dtype=inputs.dtype)
        state = torch.zeros(1, HIDDEN, dtype=inputs.dtype)
        for x, y in zip(inputs, targets, strict=True):
            prediction, state = cell(x.reshape(1, 1), state, *parameters)
            loss = (prediction - y).pow(2).sum() / 2
            gradients: Any = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= LEARNING_RATE * gradient
            state = state.detach()
            total += loss.detach()
        yield float(total)


def predict(weights: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """The prediction after each of the true inputs, `[time]`, from a state of zero."""
    state, found = torch.zeros(1, HIDDEN, dtype=inputs.dtype), []
    with torch.no_grad():
        for x in inputs:
            prediction, state = cell(x.reshape(1, 1), state, weights["w1"], weights["w2"])
            found.append(prediction.reshape(()))
    return torch.stack(found)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and print the sum of each epoch."""
    run = Run("sine_recurrent", __doc__, arguments, epochs={"default": EPOCHS}, seed=1)
    weights = initial(run.seed)
    if run.weights:
        weights = {name: torch.tensor(value) for name, value in run.weights.items()}
    sums = train(weights, *series())
    for _ in range(run.epochs):
        run.start()
        total = next(sums)
        run.stop()
        run.record(loss=total)


if __name__ == "__main__":
    main()
