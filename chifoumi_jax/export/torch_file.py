"""Export to PyTorch's exported programs (`.pt2`): graph and weights, without code of this package.

`torch.export.load("model.pt2").module()(images)` gives `{"logits": …, "probabilities": …}` for
float32 images [batch, channels, height, width] in [0, 1], as torchvision makes them.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from chifoumi_jax.export.network import NetworkDescription, walk
from chifoumi_jax.export.verify import Outputs, Runner
from chifoumi_jax.models.description import (
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Mean,
    Residual,
    Scale,
    flat,
)

# File of the metadata in the archive, for `torch.export.load(path, extra_files={METADATA: ""})`.
METADATA = "chifoumi.json"


class _Module(nn.Module):
    """The network as PyTorch layers with this package's names; implements `Operations` on NCHW."""

    def __init__(self, network: NetworkDescription):
        super().__init__()
        self._network = network
        for layer in flat(network.layers):
            if isinstance(layer, Conv):
                self.add_module(layer.name, _conv(layer))
            elif isinstance(layer, Dense):
                self.add_module(layer.name, _linear(layer))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns logits and probabilities."""
        logits, probabilities = walk(self, self._network, images)
        return {"logits": logits, "probabilities": probabilities}

    def standardize(self, images: Tensor) -> Tensor:
        """See `Operations`."""
        centred = images - images.mean((2, 3), keepdim=True)
        deviation = centred.square().mean((1, 2, 3), keepdim=True).sqrt()
        return centred / (deviation + 1e-3)

    def with_mirror_images(self, images: Tensor) -> Tensor:
        """See `Operations`."""
        return torch.cat([images, images.flip(3)])

    def conv(self, images: Tensor, layer: Conv) -> Tensor:
        """See `Operations`."""
        (top, bottom), (left, right) = map(layer.padding, images.shape[2:])
        padded = functional.pad(images, (left, right, top, bottom)) if layer.same else images
        return _activate(self.get_submodule(layer.name)(padded), layer)

    def dense(self, values: Tensor, layer: Dense) -> Tensor:
        """See `Operations`."""
        return _activate(self.get_submodule(layer.name)(values), layer)

    def scale(self, images: Tensor, layer: Scale) -> Tensor:
        """See `Operations`."""
        return images * layer.factor + layer.offset

    def max_pool(self, images: Tensor, layer: MaxPool) -> Tensor:
        """See `Operations`."""
        return functional.max_pool2d(images, 2)

    def mean(self, images: Tensor, layer: Mean) -> Tensor:
        """See `Operations`."""
        return images.mean((2, 3))

    def flatten(self, images: Tensor, layer: Flatten) -> Tensor:
        """See `Operations`."""
        return images.permute(0, 2, 3, 1).flatten(1)

    def dropout(self, values: Tensor, layer: Dropout) -> Tensor:
        """See `Operations`."""
        return values

    def add(self, images: Tensor, others: Tensor, layer: Residual) -> Tensor:
        """See `Operations`."""
        return images + others

    def mean_of_halves(self, logits: Tensor) -> Tensor:
        """See `Operations`."""
        halves = logits.log_softmax(1).reshape(2, -1, logits.shape[1])
        return halves.logsumexp(0) - math.log(2)

    def divide(self, logits: Tensor, temperature: float) -> Tensor:
        """See `Operations`."""
        return logits / temperature

    def softmax(self, logits: Tensor) -> Tensor:
        """See `Operations`."""
        return logits.softmax(1)


def _conv(layer: Conv) -> nn.Conv2d:
    kernel = layer.kernel[:, :, None] if layer.depthwise else layer.kernel
    kernel_size, _, group_channels, out_channels = kernel.shape
    groups = out_channels if layer.depthwise else 1
    module = nn.Conv2d(
        group_channels * groups, out_channels, kernel_size, layer.stride, groups=groups
    )
    return _with_weights(module, kernel.transpose(3, 2, 0, 1), layer.bias)


def _linear(layer: Dense) -> nn.Linear:
    return _with_weights(nn.Linear(*layer.kernel.shape), layer.kernel.T, layer.bias)


def _with_weights(module: nn.Module, weight: np.ndarray, bias: np.ndarray) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(torch.tensor(weight))
        module.bias.copy_(torch.tensor(bias))
    return module


def _activate(values: Tensor, layer: Conv | Dense) -> Tensor:
    if layer.activation is None:
        return values
    return values.relu() if layer.activation == "relu" else functional.relu6(values)


def write(network: NetworkDescription, path: Path) -> None:
    """Write the network as an exported program, for any number of images."""
    height, width, *channels = network.input_shape
    # Two images, because an example of one image would fix the batch size.
    images = torch.zeros(2, *(channels or [1]), height, width)
    batch = {0: torch.export.Dim("batch")}
    with torch.no_grad():
        program = torch.export.export(
            _Module(network).eval(), (images,), dynamic_shapes={"images": batch}
        )
    torch.export.save(program, path, extra_files={METADATA: json.dumps(network.metadata())})


class TorchRunner(Runner):
    """Runs the file in PyTorch, on the CPU."""

    def __init__(self, path: Path):
        self._module = torch.export.load(path).module()

    def predict(self, images: np.ndarray) -> Outputs:
        """See `Runner`."""
        planes = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
        with torch.inference_mode():
            outputs = self._module(torch.tensor(np.ascontiguousarray(planes)))
        return Outputs(outputs["logits"].numpy(), outputs["probabilities"].numpy())
