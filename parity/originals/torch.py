"""An original in today's PyTorch: everything that does not depend on the network."""

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from chifoumi_jax.convert.torch import as_stored, build_from_torch
from parity.case import Case
from parity.inputs import Batch, Masks, Training, prescribed_gradient
from parity.original import LiveOriginal, summary_statistics
from parity.value_and_grad import ValueAndGrad
from reference import photos, torch_mlp
from reference.legacy import seeded


class TorchOriginal(LiveOriginal):
    """A classifier and its training in PyTorch, on gray images.

    A subclass gives the network (`build`, `outputs`), its optimiser and its settings. Weights and
    batches are the case's.
    """

    file_forms = ("state_dict", ".pt", ".safetensors")
    dropout_rate = 0.0

    def __init__(self, case: Case) -> None:
        """Make the original of a case."""
        self.case = case
        self.name = f"PyTorch {torch.__version__.partition('+')[0]}"

    @abc.abstractmethod
    def build(self) -> torch.nn.Module:
        """The network with random weights; its submodules have the names that `outputs` returns."""

    @abc.abstractmethod
    def outputs(
        self, model: Any, images: torch.Tensor, masks: tuple[torch.Tensor, ...] | None
    ) -> Mapping[str, torch.Tensor]:
        """Every layer's output by name; the last is "softmax". No dropout without `masks`.

        "output", if there is one, is what the loss takes; otherwise that is the output of the layer
        before "softmax".
        """

    @abc.abstractmethod
    def optimizer(self, model: Any) -> torch.optim.Optimizer:
        """SGD with momentum, as the original trains with it."""

    def last(self, logits: torch.Tensor) -> torch.Tensor:
        """What the loss takes, from logits: the logits themselves by default."""
        return logits

    def probabilities(self, output: torch.Tensor) -> torch.Tensor:
        """Probabilities, from what the whole network returns: logits by default."""
        return F.softmax(output, 1)

    def structure(self) -> list[tuple[str, str, tuple[int | None, ...], int]]:
        """Layers in the order in which they run."""
        model = self.build()
        blank = torch.zeros(1, self.case.size, self.case.size)
        counts = {
            name: sum(p.numel() for p in layer.parameters())
            for name, layer in model.named_children()
        }
        kinds = {"flatten": "Flatten", "fc": "Linear", "relu": "ReLU", "softmax": "Softmax"}
        return [
            (name, kinds[name.rstrip("0123456789")], (None, *value.shape[1:]), counts.get(name, 0))
            for name, value in self.outputs(model, blank, None).items()
            if name != "output"
        ]

    def initial(self, draws: int) -> dict[str, np.ndarray]:
        """Moments of the initial weights."""
        torch.manual_seed(1000)
        found = [self.build().state_dict() for _ in range(draws)]
        return {
            name: np.array([summary_statistics(draw[name].numpy()) for draw in found])
            for name in self.case.shapes()
        }

    def pixels(self) -> dict[str, np.ndarray]:
        """Pixels of the decoded pictures; one also rotated by `seeded.ANGLES` and mirrored."""
        images = [
            photos.torch_resize(Image.fromarray(seeded.decoded(number)), self.case.size)
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
        model = self.model(self.case.weights(size, dtype))
        images = _images(self.case.batch(size, 0).pixels, dtype)
        with torch.no_grad():
            found = self.outputs(model, images, None)
            whole = self.probabilities(model.eval()(images))
        named = {name: value.numpy() for name, value in found.items() if name != "output"}
        return {**named, "whole": whole.numpy()}

    def gradients(self, size: int, dtype: str, batch: Batch) -> ValueAndGrad:
        """Loss and gradients on one batch."""
        model = self.model(self.case.weights(size, dtype))
        images = _images(batch.pixels, dtype).requires_grad_()
        loss = self._loss(model, images, batch)
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

        source: Any = self.model(weights).state_dict()
        if form != "state_dict":
            path = folder / f"model{form}"
            save = torch.save if form == ".pt" else safetensors.torch.save_file
            save(source, path)
            source = path
        model = self.to_jax(source)
        self.from_jax(model, folder / "back.safetensors")
        again = self.build()
        again.load_state_dict(safetensors.torch.load_file(folder / "back.safetensors"))
        return model, {name: value.numpy() for name, value in again.state_dict().items()}

    def to_jax(self, source: Any) -> Any:
        """The port with the weights of a state dict or its file."""

        def build(tensors: Mapping[str, Any]) -> Any:
            arrays: Any = {name: as_stored(name, tensor) for name, tensor in tensors.items()}
            return self.case.port.from_arrays(arrays, self.case.size, "float32")

        return build_from_torch(source, build)

    def from_jax(self, model: Any, path: Path) -> None:
        """Write the port's weights to a safetensors file."""
        import safetensors.numpy

        safetensors.numpy.save_file(dict(self.case.port.to_arrays(model)), path)

    def losses(self, dtype: str) -> dict[str, np.ndarray]:
        """Loss and gradient on logits that saturate and tie."""
        logits, labels = seeded.loss_logits(dtype)
        x = torch.from_numpy(logits).requires_grad_()
        loss = F.cross_entropy(self.last(x), torch.from_numpy(labels), reduction="none")
        loss.sum().backward()
        return {"value": loss.detach().numpy(), "gradient": _gradient(x)}

    def ties(self, dtype: str) -> dict[str, np.ndarray]:
        """The gradient of ReLU around zero."""
        x = torch.from_numpy(np.array([-1, -0.0, 0, 1], dtype)).requires_grad_()
        F.relu(x).sum().backward()
        return {"relu": _gradient(x)}

    def optimise(self, dtype: str, kept_steps: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Weights and momentum buffers after SGD steps with prescribed gradients."""
        model = self.model(self.case.weights(self.case.size, dtype))
        sgd = self.optimizer(model)
        found: dict[str, np.ndarray] = {}
        for number in range(max(kept_steps)):
            for name, value in model.named_parameters():
                gradient = prescribed_gradient(name, tuple(value.shape), number, dtype)
                value.grad = torch.from_numpy(gradient)
            sgd.step()
            if number + 1 in kept_steps:
                found |= _named(number + 1, model, sgd)
        return found

    def train(self, training: Training, dtype: str) -> dict[str, np.ndarray]:
        """Weights and momentum buffers after the kept steps, and each step's loss."""
        model = self.model(training.weights)
        sgd = self.optimizer(model)
        found: dict[str, np.ndarray] = {}
        losses = []
        for number, batch in enumerate(training.batches, start=1):
            sgd.zero_grad()
            loss = self._loss(model, _images(batch.pixels, dtype), batch)
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
            found = self.outputs(self.model(weights), _images(pixels, dtype), None)
        softmax: np.ndarray = found["softmax"].numpy()
        return softmax

    def model(self, weights: Mapping[str, Any]) -> Any:
        """The network with these weights, in their precision."""
        state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        model = self.build().to(next(iter(state.values())).dtype)
        model.load_state_dict(state)
        return model

    def _loss(self, model: Any, images: torch.Tensor, batch: Batch) -> torch.Tensor:
        found = dict(self.outputs(model, images, _tensors(batch.masks)))
        found.pop("softmax")
        output = found.get("output", next(reversed(found.values())))
        return torch_mlp.cross_entropy(output, torch.from_numpy(batch.labels))


def _tensors(masks: Masks | None) -> tuple[torch.Tensor, ...] | None:
    return None if masks is None else tuple(torch.from_numpy(np.array(mask)) for mask in masks)


def _images(pixels: np.ndarray, dtype: str) -> torch.Tensor:
    return torch_mlp.scale(pixels).to(getattr(torch, dtype))


def _gradient(tensor: torch.Tensor) -> np.ndarray:
    assert tensor.grad is not None
    return tensor.grad.numpy()


def _named(step: int, model: Any, sgd: Any) -> dict[str, np.ndarray]:
    found = {}
    for name, value in model.named_parameters():
        found[f"{step}/params/{name}"] = value.detach().numpy().copy()
        found[f"{step}/trace/{name}"] = sgd.state[value]["momentum_buffer"].numpy().copy()
    return found
