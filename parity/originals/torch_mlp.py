"""The study's MLPs in today's PyTorch, as originals to compare with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from chifoumi_jax.convert import from_torch, to_torch
from parity.case import Case
from parity.originals.torch import TorchOriginal
from reference import torch_mlp


class TorchMlp(TorchOriginal):
    """A version of the study's MLP, with the study's training (see `reference.torch_mlp`)."""

    def __init__(self, case: Case, version: str, *, log_probabilities: bool) -> None:
        """Make the original of a case.

        Args:
            case: The case of the port.
            version: The study's version, as `reference.torch_mlp` names it.
            log_probabilities: Whether the model ends with a log-softmax instead of a softmax.
        """
        super().__init__(case)
        self.version = version
        self._log_probabilities = log_probabilities
        dropout = getattr(self.build(), "dropout", None)
        self.dropout_rate = float(dropout.p) if dropout else 0.0

    def settings(self) -> dict[str, int | float]:
        """The study's settings.

        Dropout is active in the first epoch only, because the notebook never switched back to
        training mode after it.
        """
        return {
            "image_size": torch_mlp.IMAGE_SIZE,
            "batch_size": torch_mlp.BATCH_SIZES[self.version],
            "epochs": torch_mlp.EPOCHS[self.version],
            "dropout_rate": self.dropout_rate,
            "dropout_epochs": 1 if self.dropout_rate else 0,
        }

    def build(self) -> torch.nn.Module:
        """The version's network."""
        return torch_mlp.build(self.version)

    def outputs(
        self, model: Any, images: torch.Tensor, masks: tuple[torch.Tensor, ...] | None
    ) -> Mapping[str, torch.Tensor]:
        """Every layer's output by name."""
        if masks is None:
            return torch_mlp.outputs(model, images)
        first, second = masks
        return torch_mlp.outputs(model, images, (first, second))

    def optimizer(self, model: Any) -> torch.optim.Optimizer:
        """The version's SGD."""
        return torch_mlp.build_optimizer(model, self.version)

    def last(self, logits: torch.Tensor) -> torch.Tensor:
        """The model's own last layer, which version 2.1 applies besides the loss's softmax."""
        return F.log_softmax(logits, 1) if self._log_probabilities else F.softmax(logits, 1)

    def probabilities(self, output: torch.Tensor) -> torch.Tensor:
        """Probabilities, from the model's logarithms of them or directly."""
        return output.exp() if self._log_probabilities else output

    def to_jax(self, source: Any) -> Any:
        """By the public function for the study's MLP."""
        return from_torch(source)

    def from_jax(self, model: Any, path: Path) -> None:
        """By the public function for the study's MLP."""
        to_torch(model, path)
