"""The study's MLPs in PyTorch, and their training.

    python -m reference.torch_mlp --data DIR [--version 2.1]

Today's Pillow resizes and converts to gray differently from the study's version 5.3. The study's
behaviour is the default; `--stock` gives today's.
"""

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor, nn

from reference import photos

IMAGE_SIZE = 32


class MLPv3(nn.Module):
    """Version 3: dropout 0.2 after both hidden layers, log-softmax at the end."""

    def __init__(self, num_classes: int = 3, dropout: float = 0.2):
        super().__init__()
        self.fc1 = nn.Linear(IMAGE_SIZE**2, 64)
        self.fc2 = nn.Linear(64, 32)
        self.fc3 = nn.Linear(32, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities, `[batch, classes]`."""
        x = images.flatten(1)
        x = self.dropout(F.relu(self.fc1(x)))
        x = self.dropout(F.relu(self.fc2(x)))
        return F.log_softmax(self.fc3(x), dim=1)


class MLPv21(nn.Module):
    """Version 2.1: no dropout, a ReLU after the last layer too, softmax at the end."""

    def __init__(self, num_classes: int = 3):
        super().__init__()
        self.fc1 = nn.Linear(IMAGE_SIZE**2, 64)
        self.fc2 = nn.Linear(64, 32)
        self.fc3 = nn.Linear(32, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities, `[batch, classes]`."""
        x = F.relu(self.fc1(images.flatten(1)))
        x = F.relu(self.fc2(x))
        return F.softmax(F.relu(self.fc3(x)), dim=1)


# The study's `nn.CrossEntropyLoss`, which it used with log-softmax and softmax outputs.
cross_entropy = F.cross_entropy

# By version: learning rate and momentum; epochs; batch size (0 for all images).
OPTIMIZERS = {"3": (0.01, 0.5), "2.1": (0.001, 0.9)}
EPOCHS = {"3": 100, "2.1": 5}
BATCH_SIZES = {"3": 32, "2.1": 0}


def build(version: str = "3", num_classes: int = 3) -> nn.Module:
    """The network of a version, "3" or "2.1"."""
    return MLPv3(num_classes) if version == "3" else MLPv21(num_classes)


def build_optimizer(model: nn.Module, version: str = "3") -> torch.optim.SGD:
    """The optimiser of a version."""
    rate, momentum = OPTIMIZERS[version]
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)


def scale(pixels: np.ndarray) -> Tensor:
    """Divide by 255, as torchvision's `ToTensor` does."""
    return torch.from_numpy(pixels).float().div(255)


def augment(pixels: np.ndarray, rng: random.Random) -> np.ndarray:
    """Rotate a gray image by up to 45 degrees, then flip it each way with probability one half.

    Source: torchvision 0.2.1, `RandomRotation(45)` and the two flips, in this order.
    """
    image = Image.fromarray(pixels).rotate(rng.uniform(-45, 45), Image.Resampling.NEAREST)
    for flip in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
        if rng.random() < 0.5:
            image = image.transpose(flip)
    return np.asarray(image)


def outputs(
    model: nn.Module, images: Tensor, masks: tuple[Tensor, Tensor] | None = None
) -> dict[str, Tensor]:
    """Every layer's output by name; `masks` say which values dropout keeps, None skips dropout."""
    assert isinstance(model, MLPv3 | MLPv21)
    found = {}
    x = found["flatten"] = images.flatten(1)
    for i, layer in enumerate((model.fc1, model.fc2), start=1):
        x = found[f"fc{i}"] = layer(x)
        x = found[f"relu{i}"] = F.relu(x)
        if masks is not None and isinstance(model, MLPv3):
            x = x * masks[i - 1] / (1 - model.dropout.p)
    x = found["fc3"] = model.fc3(x)
    if isinstance(model, MLPv21):
        x = found["relu3"] = F.relu(x)
    found["softmax"] = F.softmax(x, dim=1)
    found["output"] = F.log_softmax(x, dim=1) if isinstance(model, MLPv3) else found["softmax"]
    return found


def train(
    model: nn.Module,
    data: photos.Split,
    *,
    version: str = "3",
    epochs: int,
    seed: int = 0,
    reread: Callable[[int], np.ndarray] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Train as the study's notebook did: version 3 has dropout in the first epoch only.

    `reread(row)` reads an image's pixels again; without it the pixels in `data` are used.
    """
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    optimizer = build_optimizer(model, version)
    batch_size = BATCH_SIZES[version] or len(data)
    model.train()
    for epoch in range(1, epochs + 1):
        total = 0.0
        rows = torch.randperm(len(data), generator=generator).numpy()
        for start in range(0, len(rows), batch_size):
            chosen = rows[start : start + batch_size]
            images = data.pixels[chosen] if reread is None else map(reread, chosen)
            pixels = np.stack([augment(image, rng) for image in images])
            optimizer.zero_grad()
            loss = cross_entropy(model(scale(pixels)), torch.from_numpy(data.labels[chosen]))
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        # The notebook evaluated after each epoch and never returned to training mode.
        model.eval()
        say(f"epoch {epoch}: loss {total / len(rows):.4f}")


def predict(model: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """The network's output in evaluation mode, `[images, classes]`; larger means more likely."""
    with torch.no_grad():
        found: np.ndarray = model.eval()(scale(pixels)).numpy()
    return found


def main(arguments: list[str] | None = None) -> None:
    """Train on a folder of photos, and print the accuracies."""
    parser = argparse.ArgumentParser(prog="python -m reference.torch_mlp", description=__doc__)
    photos.add_arguments(parser)
    parser.add_argument("--version", choices=sorted(OPTIMIZERS), default="3")
    parser.add_argument("--epochs", type=photos.positive, help="100 and 5 by default")
    parser.add_argument("--stock", action="store_true", help="today's resizing and gray")
    parser.add_argument(
        "--reread",
        action="store_true",
        help="read every photo again in each epoch, as the study's loader did",
    )
    parser.add_argument("--save", type=Path, help="write the state_dict here (.pt)")
    options = parser.parse_args(arguments)
    photos.check_save(options.save, ".pt")
    paths: list[Path] = []

    def load(path: Path, size: int) -> np.ndarray:
        paths.append(path)
        return photos.torch_pixels(path, size, options.stock)

    # Training photos are read first, so their rows index `paths`.
    data, test, classes = photos.read(options, IMAGE_SIZE, load)
    torch.manual_seed(options.seed)
    model = build(options.version, len(classes))
    epochs = options.epochs or EPOCHS[options.version]

    def reread(row: int) -> np.ndarray:
        try:
            return photos.torch_pixels(paths[row], IMAGE_SIZE, options.stock)
        except OSError as error:
            photos.refuse(f"{paths[row]} can no longer be read: {error}")

    train(
        model,
        data,
        version=options.version,
        epochs=epochs,
        seed=options.seed,
        reread=reread if options.reread else None,
    )
    # The study's test set is one fixed random augmentation.
    rng = random.Random(options.seed)
    tested = np.stack([augment(image, rng) for image in test.pixels])
    result = {
        "train_accuracy": float((predict(model, data.pixels).argmax(1) == data.labels).mean()),
        "test_accuracy": float((predict(model, tested).argmax(1) == test.labels).mean()),
    }
    # Printed before saving, so that a full disk loses only the weights.
    print(json.dumps(result), flush=True)
    if options.save:
        torch.save(model.state_dict(), options.save)


if __name__ == "__main__":
    main()
