"""PyTorch; TORCH_FORMAT names the memory format, channels_last or contiguous."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.baselines import inputs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def memory_format() -> Any:
    """The memory format that TORCH_FORMAT names; channels_last by default."""
    name = os.environ.get("TORCH_FORMAT", "channels_last")
    return getattr(torch, f"{name}_format" if name == "contiguous" else name)


def _model(image_size: int) -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for out in (32, 32, 64):
        layers += [nn.Conv2d(channels, out, 3), nn.ReLU(), nn.MaxPool2d(2)]
        channels, image_size = out, (image_size - 2) // 2
    layers += [nn.Flatten(), nn.Linear(image_size**2 * channels, 64), nn.ReLU(), nn.Dropout(0.5)]
    layers.append(nn.Linear(64, inputs.CLASSES))
    return nn.Sequential(*layers).to(DEVICE, memory_format=memory_format())


def images(batch_size: int, image_size: int) -> torch.Tensor:
    """Scaled images on the device, `[batch, 3, size, size]`."""
    scaled = torch.from_numpy(inputs.scaled(batch_size, image_size)).permute(0, 3, 1, 2)
    return scaled.contiguous(memory_format=memory_format()).to(DEVICE)


def train(batch_size: int, image_size: int) -> Callable[[], None]:
    """One training step: dropout, forward, backward, Adam."""
    model = _model(image_size).train()
    optimizer = torch.optim.Adam(model.parameters())
    batch, labels = images(batch_size, image_size), inputs.labels(batch_size)
    targets = torch.from_numpy(labels).long().to(DEVICE)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch), targets).backward()
        optimizer.step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return step


def predict(batch_size: int, image_size: int) -> Callable[[], None]:
    """Class probabilities for a batch of scaled images in host memory."""
    model = _model(image_size).eval()
    batch = images(batch_size, image_size).cpu()

    def forward() -> None:
        with torch.inference_mode():
            torch.softmax(model(batch.to(DEVICE)), 1).cpu()

    return forward
