"""Originals of the small systems that are modules of today's PyTorch."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from parity.system_case import Arrays, Step, SystemCase, SystemOriginal


class TorchSystem(SystemOriginal):
    """A module with prescribed weights; a subclass says what is the system's own."""

    def __init__(self, case: SystemCase) -> None:
        self.case = case
        self.name = f"PyTorch {torch.__version__}".split("+")[0]

    @abc.abstractmethod
    def build(self) -> nn.Module:
        """A new module of the case's variant."""

    @abc.abstractmethod
    def layers(self, model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by the names of `System.outputs`, in evaluation mode."""

    @abc.abstractmethod
    def loss(self, model: Any, batch: Mapping[str, Tensor], noise: Any) -> Tensor:
        """The loss of a batch, in training mode."""

    @abc.abstractmethod
    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The study's optimiser of the module's parameters."""

    def initial(self, seed: int) -> Arrays:
        """The weights that PyTorch draws."""
        torch.manual_seed(seed)
        return _arrays(self.build())

    def live(self, weights: Arrays) -> object:
        """A state_dict."""
        return self.model(weights, "float32").state_dict()

    def outputs(self, weights: Arrays, batch: Arrays, dtype: str) -> Arrays:
        """The outputs of the layers."""
        model = self.model(weights, dtype).eval()
        with torch.no_grad():
            found = self.layers(model, tensors(batch, dtype))
        return {name: value.numpy() for name, value in found.items()}

    def value_and_gradients(self, weights: Arrays, batch: Arrays, noise: Any, dtype: str) -> Arrays:
        """The loss and the gradients that PyTorch computes."""
        model = self.model(weights, dtype).train()
        loss = self.loss(model, tensors(batch, dtype), tensors(noise, dtype))
        loss.backward()
        gradients = {name: _grad(value) for name, value in model.named_parameters()}
        return {"loss": loss.detach().numpy(), **gradients}

    def optimise(self, weights: Arrays, gradients: Sequence[Arrays]) -> Arrays:
        """The weights after the study's updates."""
        model = self.model(weights, "float64")
        optimizer = self.optimizer(model)
        for one in gradients:
            for name, parameter in model.named_parameters():
                parameter.grad = torch.tensor(one[name])
            optimizer.step()
        return _arrays(model)

    def train(self, weights: Arrays, epochs: Iterable[Iterable[Step]]) -> Arrays:
        """The study's training in float64."""
        model = self.model(weights, "float64").train()
        optimizer, printed = self.optimizer(model), []
        for steps in epochs:
            losses, sizes = [], []
            for step in steps:
                batch = tensors(step.batch, "float64")
                optimizer.zero_grad()
                loss = self.loss(model, batch, tensors(step.noise, "float64"))
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
                sizes.append(len(next(iter(batch.values()))))
            printed.append(self.case.port.printed(np.array(losses), sizes))
        return {"loss": np.array(printed), **_arrays(model)}

    def model(self, weights: Arrays, dtype: str) -> nn.Module:
        """The module with these weights."""
        model = self.build().to(getattr(torch, dtype))
        model.load_state_dict(tensors(weights, dtype))
        return model


def tensors(arrays: Any, dtype: str) -> Any:
    """Tensors of arrays, in mappings and sequences too; `dtype` is for those of floating point."""
    if isinstance(arrays, Mapping):
        return {name: tensors(value, dtype) for name, value in arrays.items()}
    if isinstance(arrays, tuple | list):
        return tuple(tensors(value, dtype) for value in arrays)
    value = np.asarray(arrays)
    return torch.tensor(value.astype(dtype) if np.issubdtype(value.dtype, np.floating) else value)


def _arrays(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def _grad(value: Tensor) -> np.ndarray:
    assert value.grad is not None
    return value.grad.numpy()
