"""Epochs of the MLP in PyTorch, trained as in the study's notebook."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from reference import photos, torch_mlp

WARM_UP = 1


def mlp(directory: str, epochs: int) -> Callable[[], None]:
    """All training steps of the study's recipe, on decoded pixels."""
    files = sorted((Path(directory) / "train").glob("*/*"))
    classes = sorted({file.parent.name for file in files})
    pixels = np.stack([photos.torch_pixels(file, torch_mlp.IMAGE_SIZE) for file in files])
    labels = np.array([classes.index(file.parent.name) for file in files])
    data = photos.Split(pixels, labels)

    def work() -> None:
        torch.manual_seed(0)
        model = torch_mlp.build("3", len(classes))
        torch_mlp.train(model, data, epochs=epochs, say=lambda line: None)

    return work
