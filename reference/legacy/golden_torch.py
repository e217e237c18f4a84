"""Records the study's PyTorch MLPs on PyTorch 1.0.0 and torchvision 0.2.1 in golden files.

    python golden_torch.py OUT

Runs only on Python 3.6, in the environment that `environments.sh` builds.
"""

import json
import sys

import numpy as np
import PIL.Image
import seeded
import torch
import torch.nn.functional as F
from golden_file import GoldenFile, versions
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms
from torchvision.transforms import functional

INITIAL_DRAWS = 40
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class MLPv3(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(32 * 32, 64)
        self.fc2 = nn.Linear(64, 32)
        self.fc3 = nn.Linear(32, 3)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        x = x.view(x.shape[0], -1)
        x = self.dropout(F.relu(self.fc1(x)))
        x = self.dropout(F.relu(self.fc2(x)))
        return F.log_softmax(self.fc3(x), dim=1)


class MLPv21(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(32 * 32, 64)
        self.fc2 = nn.Linear(64, 32)
        self.fc3 = nn.Linear(32, 3)

    def forward(self, x):
        x = x.view(x.shape[0], -1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.softmax(F.relu(self.fc3(x)), dim=1)


MODELS = {
    "v3": (MLPv3, dict(lr=0.01, momentum=0.5)),
    "v21": (MLPv21, dict(lr=0.001, momentum=0.9)),
}


def build(version, dtype):
    model = MODELS[version][0]().to(DTYPES[dtype])
    weights = seeded.mlp_weights(dtype)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model


def batch(step, dtype):
    pixels, labels = seeded.mlp_batch(step)
    images = torch.from_numpy(pixels).float().div(255).to(DTYPES[dtype])
    return images, torch.from_numpy(labels.astype(np.int64))


class Masks:
    """Records which values each dropout keeps during the forward pass."""

    def __init__(self, model):
        self.found = []
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.register_forward_hook(self._keep)

    def _keep(self, module, inputs, output):
        # If the ReLU gave zero, dropping and keeping the value are the same.
        self.found.append(((output != 0) | (inputs[0] == 0)).numpy().astype(bool))

    def take(self):
        found, self.found = self.found, []
        return found


def structure(out):
    for version in MODELS:
        model = MODELS[version][0]()
        out.text["structure " + version] = [
            {"name": name, "shape": list(value.shape)} for name, value in model.state_dict().items()
        ]


def initialisation(out):
    moments = {name: [] for name in seeded.mlp_shapes()}
    torch.manual_seed(1)
    for _ in range(INITIAL_DRAWS):
        for name, value in MLPv3().state_dict().items():
            x = value.numpy().astype(np.float64)
            moments[name].append([x.min(), x.max(), x.mean(), (x**2).mean(), (x**4).mean()])
    for name, rows in moments.items():
        out.add("initial/" + name, np.array(rows))


def forward(out, version, dtype):
    model, prefix = build(version, dtype).eval(), "%s/%s/forward/" % (dtype, version)
    images, _ = batch(0, dtype)
    x = images.view(len(images), -1)
    out.add_sample(prefix + "flatten", x.numpy())
    # The layers one by one, then the whole network, which must give the same.
    steps = [("fc1", model.fc1), ("relu1", F.relu), ("fc2", model.fc2), ("relu2", F.relu)]
    steps += [("fc3", model.fc3)] + ([("relu3", F.relu)] if version == "v21" else [])
    for name, step in steps:
        x = step(x)
        out.add_sample(prefix + name, x.detach().numpy())
    x = F.softmax(x, dim=1)
    out.add_sample(prefix + "softmax", x.detach().numpy())
    whole = model(images)
    assert torch.allclose(x, whole if version == "v21" else whole.exp(), rtol=1e-5)


def gradients(out, version, dtype, training):
    model = build(version, dtype).train(training)
    masks = Masks(model)
    images, labels = batch(0, dtype)
    images.requires_grad_()
    torch.manual_seed(2)
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    prefix = "%s/%s/%s/" % (dtype, version, "dropout" if training else "plain")
    out.add(prefix + "loss", loss.detach().numpy())
    for place, mask in enumerate(masks.take() if training else ()):
        out.add(prefix + "mask/%d" % place, mask)
    out.add_sample(prefix + "gradient/input", images.grad.numpy())
    for name, value in model.named_parameters():
        out.add_sample(prefix + "gradient/" + name, value.grad.numpy())


def steps(out, version, dtype):
    model, settings = build(version, dtype).train(), MODELS[version][1]
    masks, taken, losses = Masks(model), [], []
    optimizer = torch.optim.SGD(model.parameters(), **settings)
    torch.manual_seed(3)
    prefix = "%s/%s/steps/" % (dtype, version)
    for number in range(seeded.STEPS):
        images, labels = batch(number, dtype)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        taken.append(masks.take())
        if number + 1 in seeded.KEPT_STEPS:
            for name, value in model.named_parameters():
                part = prefix + "%d/" % (number + 1)
                momentum = optimizer.state[value]["momentum_buffer"]
                out.add_sample(part + "params/" + name, value.detach().numpy())
                out.add_sample(part + "trace/" + name, momentum.numpy())
    out.add(prefix + "loss", np.array(losses))
    for place in range(len(taken[0])):
        out.add(prefix + "masks/%d" % place, np.array([step[place] for step in taken]))


def sgd_alone(out, version, dtype):
    model, settings = build(version, dtype), MODELS[version][1]
    optimizer = torch.optim.SGD(model.parameters(), **settings)
    for number in range(100):
        for name, value in model.named_parameters():
            gradient = seeded.gradients(name, tuple(value.shape), number, dtype)
            value.grad = torch.from_numpy(gradient)
        optimizer.step()
        if number + 1 in (1, 5, 100):
            part = "%s/%s/sgd/%d/" % (dtype, version, number + 1)
            for name, value in model.named_parameters():
                momentum = optimizer.state[value]["momentum_buffer"]
                out.add_sample(part + "params/" + name, value.detach().numpy())
                out.add_sample(part + "trace/" + name, momentum.numpy())


def losses(out, dtype):
    for version in MODELS:
        logits, labels = seeded.loss_logits(dtype)
        x = torch.from_numpy(logits).requires_grad_()
        last = F.log_softmax(x, dim=1) if version == "v3" else F.softmax(x, dim=1)
        values = F.cross_entropy(last, torch.from_numpy(labels), reduction="none")
        values.sum().backward()
        out.add("%s/%s/loss/value" % (dtype, version), values.detach().numpy())
        out.add("%s/%s/loss/gradient" % (dtype, version), x.grad.numpy())


def ties(out, dtype):
    x = torch.from_numpy(np.array([-1, -0.0, 0, 1], dtype)).requires_grad_()
    F.relu(x).sum().backward()
    out.add(dtype + "/ties/relu", x.grad.numpy())


def order(out):
    """The rows of the study's loader; they show batch sizes, and that an epoch is a permutation."""
    data = torch.arange(294)
    loader = DataLoader(TensorDataset(data), batch_size=32, shuffle=True)
    torch.manual_seed(4)
    rows = np.full((3, len(loader), 32), -1, np.int32)
    for epoch in rows:
        for row, (found,) in zip(epoch, loader):
            row[: len(found)] = found.numpy()
    out.add("order", rows)


def pixels(out):
    """Resizing, gray, scaling, rotation and flips, each stage from the same decoded picture."""
    for number in range(len(seeded.RESIZES)):
        picture = PIL.Image.fromarray(seeded.decoded(number))
        resized = functional.resize(picture, (32, 32))
        gray = functional.to_grayscale(resized)
        out.add("pixels/%d" % number, np.asarray(gray))
    out.add("scaled/every", functional.to_tensor(np.arange(256, dtype=np.uint8)[None, :, None]))
    for angle in seeded.ANGLES:
        turned = functional.rotate(gray, angle)
        out.add("turned/%s" % angle, np.asarray(turned))
    out.add("mirrored", np.asarray(functional.hflip(gray)))
    out.add("upside down", np.asarray(functional.vflip(gray)))
    out.text["transforms"] = repr(
        transforms.Compose(
            [
                transforms.RandomRotation(45),
                transforms.RandomHorizontalFlip(),
                transforms.RandomVerticalFlip(),
            ]
        )
    )


def main(path):
    out = GoldenFile()
    out.text["versions"] = versions("torch", "torchvision", "numpy", "PIL")
    structure(out)
    initialisation(out)
    pixels(out)
    order(out)
    for dtype in DTYPES:
        losses(out, dtype)
        ties(out, dtype)
        for version in MODELS:
            forward(out, version, dtype)
            gradients(out, version, dtype, False)
            sgd_alone(out, version, dtype)
            steps(out, version, dtype)
        gradients(out, "v3", dtype, True)
    out.write(path)
    print(json.dumps(out.text["versions"]))


if __name__ == "__main__":
    main(sys.argv[1])
