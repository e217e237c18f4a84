"""The study's attack on a LeNet in PyTorch: the fast gradient sign method, image by image.

    python -m reference.fgsm --data FOLDER [--epochs 10] [--seed 1]

The study took the weights of PyTorch's tutorial. Here the network is trained as PyTorch's public
example of 2018 did, on pixels from 0 to 1. With the tutorial's weights the study counted 9,810
right answers of 10,000, and 869 after a change of each pixel by at most 0.3.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from reference.run import Run

EPOCHS = 10
BATCH_SIZE = 64
EPSILONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


class LeNet(nn.Module):
    """Two convolutions of 5 × 5, each with pooling and ReLU, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, 5)
        self.conv2 = nn.Conv2d(10, 20, 5)
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def layers(
        self, images: Tensor, masks: Mapping[str, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The outputs by name; the last is "output", the log-probabilities.

        Args:
            images: Pixels from 0 to 1, `[batch, 28, 28]`.
            masks: What dropout keeps: "channels" `[batch, 20]` and "units" `[batch, 50]`.
        """
        pool1 = functional.relu(functional.max_pool2d(self.conv1(images[:, None]), 2))
        conv2 = self.conv2(pool1)
        if masks is not None:
            conv2 = conv2 * masks["channels"][:, :, None, None] / 0.5
        pool2 = functional.relu(functional.max_pool2d(conv2, 2))
        hidden = functional.relu(self.fc1(pool2.view(-1, 320)))
        if masks is not None:
            hidden = hidden * masks["units"] / 0.5
        output = functional.log_softmax(self.fc2(hidden), dim=1)
        return {"pool1": pool1, "pool2": pool2, "fc1": hidden, "output": output}

    def forward(self, images: Tensor, masks: Mapping[str, Tensor] | None = None) -> Tensor:
        """The log-probabilities of the digits, `[batch, 10]`."""
        return self.layers(images, masks)["output"]


def draw_masks(batch_size: int) -> dict[str, Tensor]:
    """What dropout keeps in a step: half of the channels and half of the units."""
    return {
        "channels": torch.rand(batch_size, 20) < 0.5,
        "units": torch.rand(batch_size, 50) < 0.5,
    }


def optimizer(model: nn.Module) -> torch.optim.SGD:
    """Plain momentum."""
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)


def loss(
    model: LeNet, images: Tensor, labels: Tensor, masks: Mapping[str, Tensor] | None = None
) -> Tensor:
    """The mean negative log-likelihood."""
    return functional.nll_loss(model(images, masks), labels.long())


def step(
    model: LeNet,
    sgd: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    masks: Mapping[str, Tensor],
) -> float:
    """One update; returns the loss."""
    sgd.zero_grad()
    value = loss(model, images, labels, masks)
    value.backward()
    sgd.step()
    return float(value.detach())


def attack(image: Tensor, epsilon: float, gradient: Tensor) -> Tensor:
    """The image after a step along the sign of the gradient, with pixels from 0 to 1."""
    return torch.clamp(image + epsilon * gradient.sign(), 0, 1)


def test(model: LeNet, images: Tensor, labels: Tensor, epsilon: float) -> int:
    """The number of images that are right before and after the attack, one at a time."""
    right = 0
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        image = image.clone().requires_grad_()
        output = model(image)
        if output.argmax(1) != label:
            continue
        model.zero_grad()
        functional.nll_loss(output, label.long()).backward()
        assert image.grad is not None
        attacked = attack(image.detach(), epsilon, image.grad)
        right += int(model(attacked).argmax(1) == label)
    return right


def accuracy(model: LeNet, images: Tensor, labels: Tensor) -> float:
    """The share of right answers, without an attack."""
    with torch.no_grad():
        right = sum(
            int((model(batch).argmax(1) == truth).sum())
            for batch, truth in zip(images.split(500), labels.split(500), strict=True)
        )
    return right / len(images)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, then attack the test images with each epsilon and print the study's counts."""
    run = Run("fgsm", __doc__, arguments, epochs={"study": EPOCHS}, seed=1, digits=True)
    torch.manual_seed(run.seed)
    model = LeNet()
    if run.weights:
        model.load_state_dict({name: torch.tensor(v) for name, v in run.weights.items()})
    sgd = optimizer(model)
    train, held_out = (torch.tensor(images) for images in run.digits())
    labels, test_labels = (torch.tensor(np.array(values)) for values in run.labels())
    for order in run.orders(len(train)):
        run.start()
        total = 0.0
        for rows in torch.tensor(order).long().split(BATCH_SIZE):
            masks = draw_masks(len(rows))
            total += len(rows) * step(model, sgd, train[rows], labels[rows], masks)
        run.stop()
        run.record(loss=total / len(train), accuracy=accuracy(model, held_out, test_labels))
    for epsilon in EPSILONS:
        count = test(model, held_out, test_labels, epsilon)
        print(f"epsilon {epsilon:g}: {count} of {len(held_out)} right", flush=True)


if __name__ == "__main__":
    main()
