"""The attacked LeNet in today's PyTorch, as an original to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from parity.originals.torch_system import TorchSystem, tensors
from parity.system_case import Arrays
from reference import fgsm


class FGSMOriginal(TorchSystem):
    """`reference.fgsm` with prescribed weights and masks of dropout."""

    def build(self) -> nn.Module:
        """The study's module."""
        return fgsm.LeNet()

    def layers(self, model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The maps with channels last, the hidden layer and the log-probabilities."""
        found = model.layers(batch["images"])
        return {
            name: value.permute(0, 2, 3, 1) if value.ndim == 4 else value
            for name, value in found.items()
        }

    def loss(self, model: Any, batch: Mapping[str, Tensor], noise: Any) -> Tensor:
        """The mean negative log-likelihood, with dropout."""
        return fgsm.loss(model, batch["images"], batch["labels"], noise)

    def batch_gradients(self, weights: Arrays, batch: Arrays, dtype: str) -> Arrays:
        """The gradient by the images, in evaluation mode."""
        model: Any = self.model(weights, dtype).eval()
        given = tensors(batch, dtype)
        images = given["images"].requires_grad_()
        (len(images) * fgsm.loss(model, images, given["labels"])).backward()
        return {"images": images.grad.numpy()}

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """SGD with momentum."""
        return fgsm.optimizer(model)
