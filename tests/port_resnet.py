"""A residual network with batch normalization in PyTorch, and its port to NNX."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from flax import nnx
from torch import nn


class TorchBlock(nn.Module):
    """Two convolutions with a shortcut, which is a convolution if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y)) + self.downsample(x)
        return F.relu(y, inplace=True)


class TorchResNet(nn.Module):
    """A stem, two blocks, a flatten and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.layer1 = nn.Sequential(TorchBlock(6, 6, 1), TorchBlock(6, 8, 2))
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8 * 4 * 3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = self.layer1(x)
        logits: torch.Tensor = self.fc(self.dropout(torch.flatten(x, 1)))
        return logits


class BatchNorm(nnx.Module):
    """PyTorch's batch normalization: the running variance averages the unbiased variance."""

    def __init__(self, features: int, epsilon: float = 1e-5, momentum: float = 0.9) -> None:
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))
        self.epsilon, self.momentum, self.use_running_average = epsilon, momentum, False

    def __call__(self, x: jax.Array) -> jax.Array:
        mean, var = self.mean[...], self.var[...]
        if not self.use_running_average:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            count = x.size // x.shape[-1]
            keep = self.momentum
            self.mean[...] = keep * self.mean[...] + (1 - keep) * mean
            self.var[...] = keep * self.var[...] + (1 - keep) * var * count / (count - 1)
        return (x - mean) / jnp.sqrt(var + self.epsilon) * self.scale[...] + self.bias[...]


class Block(nnx.Module):
    """A block whose shortcut runs first, unlike in the original."""

    def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs, **norm: Any) -> None:
        def conv(inputs: int, size: int, stride: int) -> nnx.Conv:
            window = (size, size)
            steps, padding = (stride, stride), (size - 1) // 2
            return nnx.Conv(
                inputs, outputs, window, steps, padding=padding, use_bias=False, rngs=rngs
            )

        self.conv1, self.bn1 = conv(inputs, 3, stride), BatchNorm(outputs, **norm)
        self.conv2, self.bn2 = conv(outputs, 3, 1), BatchNorm(outputs, **norm)
        self.shortcut = nnx.data(None)
        if stride != 1 or inputs != outputs:
            self.shortcut = nnx.Sequential(conv(inputs, 1, stride), BatchNorm(outputs, **norm))

    def __call__(self, x: jax.Array) -> jax.Array:
        short = x if self.shortcut is None else self.shortcut(x)
        return nnx.relu(self.bn2(self.conv2(nnx.relu(self.bn1(self.conv1(x))))) + short)


class ResNet(nnx.Module):
    """The port. `norm` plants a fault in every batch normalization."""

    def __init__(self, rngs: nnx.Rngs, **norm: Any) -> None:
        self.stem = nnx.Conv(3, 6, (3, 3), padding=1, rngs=rngs)
        self.stem_norm = BatchNorm(6, **norm)
        self.blocks = nnx.List([Block(6, 6, 1, rngs, **norm), Block(6, 8, 2, rngs, **norm)])
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(8 * 4 * 3, 5, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.max_pool(nnx.relu(self.stem_norm(self.stem(x))), (2, 2), (2, 2))
        for block in self.blocks:
            x = block(x)
        return self.head(self.dropout(x.reshape(len(x), -1)))


def trained_reference() -> TorchResNet:
    """The original with weights and statistics as after training: none is all zeros or all ones."""
    torch.manual_seed(0)
    model = TorchResNet()
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.3)
                assert layer.running_mean is not None and layer.running_var is not None
                layer.running_mean.normal_(0, 0.3)
                layer.running_var.uniform_(0.5, 1.5)
    return model


def batch() -> np.ndarray:
    """Images with their channels first."""
    return np.random.default_rng(0).standard_normal((4, 3, 16, 12)).astype("float32")
