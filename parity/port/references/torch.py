"""A PyTorch module as a reference."""

import copy
import dataclasses
from typing import Any

import jax
import numpy as np
import torch
from torch import nn

from parity.port.layer import Arrays, Call, Layer, Objective, Run
from parity.port.references.base import Reference, in_order
from parity.port.references.torch_layers import layers_of
from parity.port.references.torch_watch import Record, Watch, plain_attention
from parity.port.trees import call_arguments, cast, named_leaves
from parity.value_and_grad import ValueAndGrad

_ALONG_SEQUENCE = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d)


class TorchReference(Reference):
    """A `torch.nn.Module`, on the CPU."""

    framework = "torch"

    def __init__(self, model: nn.Module, batch: Any) -> None:
        with torch.random.fork_rng(devices=[]):
            self._model = copy.deepcopy(model).cpu().requires_grad_(True)
        _without_dropout(self._model)
        self._found = layers_of(self._model)
        self._names = [p.name for layer, _ in self._found for p in layer.parameters]
        self._original = {
            name: tensor.detach().clone() for name, tensor in self._model.state_dict().items()
        }
        self.layers = self._in_order(batch)
        first = next((module for module in model.modules() if not list(module.children())), None)
        self.sequence_channels_first = isinstance(first, _ALONG_SEQUENCE)

    def arrays(self) -> Arrays:
        """Parameters and buffers, with the names and values of the state dict."""
        tensors = _tensors(self._model)
        with_original = {name: self._original.get(name, tensors[name]) for name in self._names}
        return {name: tensor.detach().numpy().copy() for name, tensor in with_original.items()}

    def run(self, weights: Arrays, batch: Any, dtype: str, train: bool) -> Run:
        """A forward pass with these weights."""
        return self._pass(weights, batch, dtype, train)[0]

    def value_and_grad(
        self, weights: Arrays, batch: Any, dtype: str, train: bool, objective: Objective
    ) -> ValueAndGrad:
        """The objective of the outputs, and its gradients."""
        model = self._prepared(weights, dtype, train)
        inputs = jax.tree.map(_tensor, cast(batch, dtype))
        floats = {
            name: tensor.requires_grad_()
            for name, tensor in named_leaves("input", inputs).items()
            if tensor.is_floating_point()
        }
        with Watch(), plain_attention():
            outputs = _call(model, inputs)
        value = _value(outputs, objective)
        parameters = {
            name: tensor
            for name, tensor in _tensors(model).items()
            if name in self._names and isinstance(tensor, nn.Parameter)
        }
        wanted = [*parameters.values(), *floats.values()]
        found = torch.autograd.grad(value, wanted, allow_unused=True)
        arrays = [
            np.zeros(tuple(t.shape), dtype) if g is None else g.numpy()
            for g, t in zip(found, wanted, strict=True)
        ]
        return ValueAndGrad(
            value=float(value.detach()),
            gradients=dict(zip(parameters, arrays, strict=False)),
            inputs=dict(zip(floats, arrays[len(parameters) :], strict=True)),
            statistics=self._statistics(model),
        )

    def _in_order(self, batch: Any) -> list[Layer]:
        weights = self.arrays()
        run, flattened = self._pass(weights, batch, "float64", False)
        layers = [
            dataclasses.replace(
                layer,
                flattened=flattened.get(layer.name, ()),
                # A flattened input with four axes has its channels first; (batch, time, features)
                # has them last.
                channels_first=layer.channels_first or len(flattened.get(layer.name, ())) > 2,
            )
            for layer, _ in self._found
        ]
        return in_order(layers, run.calls)

    def _pass(
        self, weights: Arrays, batch: Any, dtype: str, train: bool
    ) -> tuple[Run, dict[str, tuple[int, ...]]]:
        model = copy.deepcopy(self._prepared(weights, dtype, train))
        watch = Watch()
        record = Record(model, self._found, watch)
        with torch.no_grad(), watch, plain_attention():
            outputs = _call(model, jax.tree.map(_tensor, cast(batch, dtype)))
        found = {
            name: tensor.detach().numpy().copy()
            for name, tensor in named_leaves("output", outputs).items()
        }
        calls: tuple[Call, ...] = tuple(record.calls)
        return Run(found, self._statistics(model), calls), record.flattened

    def _prepared(self, weights: Arrays, dtype: str, train: bool) -> nn.Module:
        model = self._model.to(getattr(torch, dtype))
        model.load_state_dict(self._original)
        tensors = _tensors(model)
        with torch.no_grad():
            for name, array in weights.items():
                tensors[name].copy_(torch.from_numpy(np.array(array)))
        return model.train(train)

    def _statistics(self, model: nn.Module) -> dict[str, np.ndarray]:
        return {
            name: tensor.detach().numpy().copy()
            for name, tensor in _tensors(model).items()
            if name in self._names and not isinstance(tensor, nn.Parameter)
        }


def _tensors(model: nn.Module) -> dict[str, Any]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _tensor(array: np.ndarray) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array))
    return tensor.long() if tensor.dtype in (torch.int32, torch.int16) else tensor


def _call(model: nn.Module, batch: Any) -> Any:
    args, kwargs = call_arguments(batch)
    return model(*args, **kwargs)


def _value(outputs: Any, objective: Objective) -> torch.Tensor:
    if objective.loss is not None:
        value: torch.Tensor = objective.loss(outputs)
        return value
    terms = [
        (tensor * _tensor(objective.cotangents[name]).to(tensor.dtype)).sum()
        for name, tensor in named_leaves("output", outputs).items()
        if name in objective.cotangents
    ]
    return torch.stack(terms).sum()


def _without_dropout(model: nn.Module) -> None:
    # Recurrent layers and attention have their own dropout rate, and call no dropout function that
    # `Watch` could intercept.
    for module in model.modules():
        if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            module.dropout = 0.0
