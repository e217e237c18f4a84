"""The study's MLPs in today's PyTorch, as originals to compare with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from chifoumi_jax.convert import from_torch, to_torch
from parity.case import Case
from parity.inputs import Batch, Training
from parity.original import LiveOriginal, summary_statistics
from parity.value_and_grad import ValueAndGrad
from reference import photos, torch_mlp
from reference.legacy import seeded


class TorchOriginal(LiveOriginal):
    """PyTorch, with the study's training (see `reference.torch_mlp`)."""

    file_forms = ("state_dict", ".pt", ".safetensors")

    def __init__(self, case: Case, version: str, *, log_probabilities: bool) -> None:
        """Make the original of a case.

        Args:
            case: The case of the port.
            version: The study's version, as `reference.torch_mlp` names it.
            log_probabilities: Whether the model ends with a log-softmax instead of a softmax.
        """
        self.case = case
        self._log_probabilities = log_probabilities
        self.name = f"PyTorch {torch.__version__.partition('+')[0]}"
        self.version = version
        dropout = getattr(torch_mlp.build(version), "dropout", None)
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

    def structure(self) -> list[tuple[str, str, tuple[int | None, ...], int]]:
        """Layers in the order in which they run."""
        model = torch_mlp.build(self.version)
        outputs = torch_mlp.outputs(model, torch.zeros(1, 32, 32))
        counts = {
            name: sum(p.numel() for p in layer.parameters())
            for name, layer in model.named_children()
        }
        kinds = {"flatten": "Flatten", "fc": "Linear", "relu": "ReLU", "softmax": "Softmax"}
        return [
            (name, kinds[name.rstrip("0123456789")], (None, *value.shape[1:]), counts.get(name, 0))
            for name, value in outputs.items()
            if name != "output"
        ]

    def initial(self, draws: int) -> dict[str, np.ndarray]:
        """Moments of the initial weights."""
        torch.manual_seed(1000)
        found = [torch_mlp.build(self.version).state_dict() for _ in range(draws)]
        return {
            name: np.array([summary_statistics(draw[name].numpy()) for draw in found])
            for name in seeded.mlp_shapes()
        }

    def pixels(self) -> dict[str, np.ndarray]:
        """Pixels of the decoded pictures; one also rotated by `seeded.ANGLES` and mirrored."""
        images = [
            photos.torch_resize(Image.fromarray(seeded.decoded(number)), 32)
            for number in range(len(seeded.RESIZES))
        ]
        found = {f"pixels/{number}": image for number, image in enumerate(images)}
        last = Image.fromarray(images[-1])
        for angle in seeded.ANGLES:
            turned = last.rotate(angle, Image.Resampling.NEAREST)
            found[f"turned/{angle}"] = np.asarray(turned)
        found["mirrored"] = np.asarray(last.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
        found["upside down"] = np.asarray(last.transpose(Image.Transpose.FLIP_TOP_BOTTOM))
        return found

    def scaled(self) -> dict[str, np.ndarray]:
        """The network's input for each of the 256 values of a pixel."""
        return {"every value": torch_mlp.scale(np.arange(256, dtype=np.uint8)).numpy()}

    def order(self, images: int, batch_size: int, steps: int) -> list[int]:
        """Sizes of the first `steps` batches."""
        data = torch.utils.data.TensorDataset(torch.arange(images))
        loader = torch.utils.data.DataLoader(data, batch_size=batch_size, shuffle=True)
        sizes: list[int] = []
        while len(sizes) < steps:
            sizes += [len(rows) for (rows,) in loader]
        return sizes[:steps]

    def forward(self, size: int, dtype: str) -> dict[str, np.ndarray]:
        """Every layer's output on the case's first batch."""
        model = self._model(seeded.mlp_weights(dtype))
        images = _images(seeded.mlp_batch(0)[0], dtype)
        with torch.no_grad():
            found = torch_mlp.outputs(model, images)
            whole = model.eval()(images)
        named = {name: value.numpy() for name, value in found.items() if name != "output"}
        return {**named, "whole": (whole.exp() if self._log_probabilities else whole).numpy()}

    def gradients(self, size: int, dtype: str, batch: Batch) -> ValueAndGrad:
        """Loss and gradients on one batch."""
        model = self._model(seeded.mlp_weights(dtype))
        images = _images(batch.pixels, dtype).requires_grad_()
        loss = _loss(model, images, batch)
        loss.backward()
        named = {name: _gradient(value) for name, value in model.named_parameters()}
        return ValueAndGrad(loss.item(), named, {"input": _gradient(images)})

    def load(self, path: Path, size: int) -> np.ndarray:
        """A photo's gray pixels, resized with BILINEAR."""
        return photos.torch_pixels(path, size)

    def through_file(
        self, weights: Mapping[str, np.ndarray], form: str, folder: Path
    ) -> tuple[Any, Mapping[str, np.ndarray]]:
        """Weights to JAX through a state dict or its file, and back through a safetensors file."""
        import safetensors.torch

        original = self._model(weights)
        source: Any = original.state_dict()
        if form != "state_dict":
            path = folder / f"model{form}"
            save = torch.save if form == ".pt" else safetensors.torch.save_file
            save(source, path)
            source = path
        model = from_torch(source)
        to_torch(model, folder / "back.safetensors")
        again = torch_mlp.build(self.version)
        again.load_state_dict(safetensors.torch.load_file(folder / "back.safetensors"))
        return model, {name: value.numpy() for name, value in again.state_dict().items()}

    def losses(self, dtype: str) -> dict[str, np.ndarray]:
        """Loss and gradient on logits that saturate and tie."""
        logits, labels = seeded.loss_logits(dtype)
        x = torch.from_numpy(logits).requires_grad_()
        last = F.log_softmax(x, 1) if self._log_probabilities else F.softmax(x, 1)
        loss = F.cross_entropy(last, torch.from_numpy(labels), reduction="none")
        loss.sum().backward()
        return {"value": loss.detach().numpy(), "gradient": _gradient(x)}

    def ties(self, dtype: str) -> dict[str, np.ndarray]:
        """The gradient of ReLU around zero."""
        x = torch.from_numpy(np.array([-1, -0.0, 0, 1], dtype)).requires_grad_()
        F.relu(x).sum().backward()
        return {"relu": _gradient(x)}

    def optimise(self, dtype: str, kept_steps: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Weights and momentum buffers after SGD steps with prescribed gradients."""
        model = self._model(seeded.mlp_weights(dtype))
        sgd = torch_mlp.build_optimizer(model, self.version)
        found: dict[str, np.ndarray] = {}
        for number in range(max(kept_steps)):
            for name, value in model.named_parameters():
                gradient = seeded.gradients(name, tuple(value.shape), number, dtype)
                value.grad = torch.from_numpy(gradient)
            sgd.step()
            if number + 1 in kept_steps:
                found |= _named(number + 1, model, sgd)
        return found

    def train(self, training: Training, dtype: str) -> dict[str, np.ndarray]:
        """Weights and momentum buffers after the kept steps, and each step's loss."""
        model = self._model(training.weights)
        sgd = torch_mlp.build_optimizer(model, self.version)
        found: dict[str, np.ndarray] = {}
        losses = []
        for number, batch in enumerate(training.batches, start=1):
            sgd.zero_grad()
            loss = _loss(model, _images(batch.pixels, dtype), batch)
            loss.backward()
            sgd.step()
            losses.append(loss.item())
            if number in training.kept_steps:
                found |= _named(number, model, sgd)
        return {**found, "loss": np.array(losses, dtype)}

    def predict(
        self, weights: Mapping[str, np.ndarray], pixels: np.ndarray, dtype: str
    ) -> np.ndarray:
        """Probabilities, in evaluation mode."""
        with torch.no_grad():
            found = torch_mlp.outputs(self._model(weights), _images(pixels, dtype))
        softmax: np.ndarray = found["softmax"].numpy()
        return softmax

    def _model(self, weights: Any) -> Any:
        model = torch_mlp.build(self.version)
        model = model.to(torch.from_numpy(np.array(weights["fc1.bias"])).dtype)
        state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        model.load_state_dict(state)
        return model


def _images(pixels: np.ndarray, dtype: str) -> torch.Tensor:
    return torch_mlp.scale(pixels).to(getattr(torch, dtype))


def _loss(model: Any, images: torch.Tensor, batch: Batch) -> torch.Tensor:
    masks = None
    if batch.masks is not None:
        first, second = (torch.from_numpy(mask) for mask in batch.masks)
        masks = (first, second)
    output = torch_mlp.outputs(model, images, masks)["output"]
    return torch_mlp.cross_entropy(output, torch.from_numpy(batch.labels))


def _gradient(tensor: torch.Tensor) -> np.ndarray:
    assert tensor.grad is not None
    return tensor.grad.numpy()


def _named(step: int, model: Any, sgd: Any) -> dict[str, np.ndarray]:
    found = {}
    for name, value in model.named_parameters():
        found[f"{step}/params/{name}"] = value.detach().numpy().copy()
        found[f"{step}/trace/{name}"] = sgd.state[value]["momentum_buffer"].numpy().copy()
    return found
