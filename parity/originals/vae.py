"""The VAE in today's PyTorch, as an original to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from parity.originals.torch_system import TorchSystem
from reference import vae


class VAEOriginal(TorchSystem):
    """`reference.vae` with prescribed weights and noise."""

    def build(self) -> nn.Module:
        """The study's module."""
        return vae.VAE()

    def layers(self, model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean, log variance and reconstruction."""
        reconstruction, mean, log_variance = model(batch["images"])
        output = reconstruction.reshape(-1, 28, 28)
        return {"mean": mean, "log_variance": log_variance, "output": output}

    def loss(self, model: Any, batch: Mapping[str, Tensor], noise: Any) -> Tensor:
        """The negative evidence lower bound per pixel."""
        return vae.loss(model, batch["images"], noise)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Adam as of 2018."""
        return vae.optimizer(model)
