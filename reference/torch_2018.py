"""PyTorch's Adam and binary cross-entropy as of version 1.0, for today's PyTorch."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

_EPSILON = 1e-12


class Adam(torch.optim.Optimizer):
    """Adam in its "epsilon hat" form, which PyTorch had before 1.3.

    `p -= lr * sqrt(1 - b2**t) / (1 - b1**t) * m / (sqrt(v) + eps)`; today's PyTorch adds its
    epsilon to the corrected `sqrt(v)`.
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-3, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.999), "eps": eps})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Any = None) -> None:
        """Update every parameter that has a gradient."""
        del closure
        for group in self.param_groups:
            (beta1, beta2), eps = group["betas"], group["eps"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state |= {"t": 0, "m": torch.zeros_like(p), "v": torch.zeros_like(p)}
                state["t"] += 1
                state["m"].mul_(beta1).add_(p.grad, alpha=1 - beta1)
                state["v"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                rate = group["lr"] * math.sqrt(1 - beta2 ** state["t"]) / (1 - beta1 ** state["t"])
                p.addcdiv_(state["m"], state["v"].sqrt().add_(eps), value=-rate)


class _BinaryCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, targets: Tensor) -> Tensor:
        ctx.save_for_backward(p, targets)
        return -(targets * _log(p) + (1 - targets) * _log(1 - p))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        p, targets = ctx.saved_tensors
        return gradients[0] * (p - targets) / ((1 - p + _EPSILON) * (p + _EPSILON)), None


def _log(value: Tensor) -> Tensor:
    """The logarithm, where that of exactly 0 counts as that of 1e-12."""
    return torch.where(value == 0, math.log(_EPSILON), torch.log(value))


def binary_cross_entropy(probabilities: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each probability; today's PyTorch clamps logarithms at -100 instead."""
    found: Tensor = _BinaryCrossEntropy.apply(probabilities, targets)
    return found
