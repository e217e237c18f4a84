"""The dense autoencoders in today's PyTorch, as originals to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from parity.originals.torch_system import TorchSystem
from reference import dense_autoencoder


class DenseAutoencoderOriginal(TorchSystem):
    """`reference.dense_autoencoder` with prescribed weights."""

    def build(self) -> nn.Module:
        """The study's module."""
        widths = dense_autoencoder.WIDTHS[self.case.port.variant]
        return dense_autoencoder.Autoencoder(widths)

    def layers(self, model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Code and reconstruction."""
        output = model(batch["images"]).reshape(-1, 28, 28)
        return {"code": model.encode(batch["images"]), "output": output}

    def loss(self, model: Any, batch: Mapping[str, Tensor], noise: Any) -> Tensor:
        """The summed cross-entropy."""
        del noise
        return dense_autoencoder.loss(model, batch["images"])

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Adam as of 2018."""
        return dense_autoencoder.optimizer(model)
