"""The recurrent denoisers in today's PyTorch, as an original to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from parity.originals.torch_system import TorchSystem
from reference import sine_denoiser


class SineDenoiserOriginal(TorchSystem):
    """`reference.sine_denoiser` with prescribed weights."""

    def build(self) -> nn.Module:
        """The study's module."""
        return sine_denoiser.Denoiser(self.case.port.variant)

    def layers(self, model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The states and the denoised curves."""
        output, states = model(batch["noisy"])
        return {"states": states, "output": output}

    def loss(self, model: Any, batch: Mapping[str, Tensor], noise: Any) -> Tensor:
        """The mean absolute error."""
        del noise
        return sine_denoiser.loss(model, batch["noisy"], batch["clean"])

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Adam as of 2018."""
        return sine_denoiser.optimizer(model)
