"""The originals on the software of 2018, read from the recordings in `reference/legacy/golden`."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parity.case import Case, with_masks
from parity.comparison import Sampled
from parity.inputs import Batch, Masks, Training
from parity.original import Original, OriginalError
from parity.value_and_grad import ValueAndGrad
from reference.legacy import seeded

_FOLDER = Path(seeded.__file__).parent / "golden"


class GoldenError(OriginalError):
    """A golden file is absent, or does not match its checksum."""


class Golden:
    """One golden file: complete or sampled arrays by name, and their metadata."""

    def __init__(self, name: str, folder: Path = _FOLDER):
        path = folder / f"{name}.npz"
        try:
            self.metadata: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
            content = path.read_bytes()
        except OSError as error:
            raise GoldenError(
                f"{error.filename}: {error.strerror}; restore it from the repository"
            ) from error
        if hashlib.sha256(content).hexdigest() != self.metadata["sha256"]:
            raise GoldenError(
                f"{path} does not match the checksum in its .json file; restore both from the "
                "repository"
            )
        with np.load(path, allow_pickle=False) as arrays:
            self._arrays = {key: arrays[key] for key in arrays.files}

    def __getitem__(self, name: str) -> Any:
        """An array, or a sample of one if only a sample was recorded."""
        values = self._arrays[name]
        shape = self.metadata["shapes"].get(name)
        if shape is None:
            return values
        size = int(np.prod(shape))
        return Sampled(values.reshape(-1), seeded.places(name, size), tuple(shape))

    def has(self, prefix: str) -> bool:
        """Whether the name of an array begins with `prefix`."""
        return any(name.startswith(prefix) for name in self._arrays)

    def names(self, prefix: str) -> list[str]:
        """The names of all arrays that begin with `prefix`, sorted."""
        return sorted(name for name in self._arrays if name.startswith(prefix))

    def with_prefix(self, prefix: str) -> dict[str, Any]:
        """All arrays whose names begin with `prefix`, by the rest of their names.

        Raises:
            GoldenError: If no name begins with `prefix`.
        """
        found = {
            name.removeprefix(prefix): self[name]
            for name in self._arrays
            if name.startswith(prefix)
        }
        if not found:
            raise GoldenError(f"no golden array begins with {prefix}")
        return found


class GoldenOriginal(Original):
    """The recorded results of Keras 2.2.4 or PyTorch 1.0.0.

    Attributes:
        golden: The golden file.
        part: Prefix of the model's arrays after the dtype: empty, or "v3/" or "v21/".
    """

    def __init__(
        self,
        case: Case,
        golden: Golden,
        name: str,
        *,
        part: str = "",
        by_size: bool = False,
        losses: str = "loss/",
        optimizer: str,
        recorded_recipe: Callable[[Sequence[np.ndarray], Sequence[Masks]], Training] | None = None,
    ):
        """Read the recordings for a case.

        Args:
            case: The case of the port.
            golden: The golden file.
            name: Framework and version.
            part: See the class.
            by_size: Whether outputs and gradients were recorded for several image sizes.
            losses: Prefix of the losses from logits, after `part`.
            optimizer: Name of the optimizer's arrays.
            recorded_recipe: Makes the recorded complete training run, from rows and masks.
        """
        self.case = case
        self.golden = golden
        self.name = name
        self.part = part
        self.lists_functions = "layers" in golden.metadata
        self._by_size = by_size
        self._losses = losses
        self._optimizer = optimizer
        self._recorded_recipe = recorded_recipe
        self.has_whole_recipe = recorded_recipe is not None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The image sizes that were recorded."""
        return self.case.recorded_sizes

    def structure(self) -> list[tuple[str, str, tuple[int | None, ...], int]]:
        """Layers at the study's image size; for PyTorch, only those that have weights."""
        if self.lists_functions:
            return [
                (row["name"], row["kind"], tuple(row["output_shape"]), row["params"])
                for row in self.golden.metadata["layers"]
            ]
        shapes: dict[str, list[list[int]]] = {}
        for row in self.golden.metadata[f"structure {self.part.rstrip('/')}"]:
            shapes.setdefault(row["name"].partition(".")[0], []).append(row["shape"])
        return [
            (name, "Linear", (None, weight[0]), int(np.prod(weight)) + int(np.prod(bias)))
            for name, (weight, bias) in shapes.items()
        ]

    def initial(self, draws: int) -> Mapping[str, np.ndarray]:
        """Moments of the initial weights, for all recorded draws."""
        return self.golden.with_prefix("initial/")

    def pixels(self) -> Mapping[str, Any]:
        """Pixels that the loader and the augmentation made of the decoded pictures."""
        found: dict[str, Any] = {}
        for prefix in ("pixels/", "turned/"):
            if self.golden.has(prefix):
                found |= {prefix + name: v for name, v in self.golden.with_prefix(prefix).items()}
        names = ("mirrored", "upside down")
        return {**found, **{n: self.golden[n] for n in names if self.golden.has(n)}}

    def scaled(self) -> Mapping[str, Any]:
        """The network's input for each of the 256 values of a pixel."""
        return {"every value": self.golden["scaled/every"].reshape(-1)}

    def order(self, images: int, batch_size: int, steps: int) -> list[int]:
        """Sizes of the batches in the recorded training."""
        return [len(rows) for rows in self.rows(images, batch_size)][:steps]

    def rows(self, images: int, batch_size: int) -> list[np.ndarray]:
        """Indices of the images in each batch of the recorded training."""
        if self.golden.has("order/"):
            (found,) = self.golden.with_prefix(f"order/{images}-{batch_size}-").values()
        else:
            recorded = self.golden["order"]
            found = recorded.reshape(-1, recorded.shape[-1])
        return [row[row >= 0] for row in found]

    def forward(self, size: int, dtype: str) -> Mapping[str, Any]:
        """Every layer's output on the case's first batch."""
        found = self.golden.with_prefix(f"{self._prefix(dtype, size)}forward/")
        return {**found, "whole": found[list(found)[-1]]}

    def gradients(self, size: int, dtype: str, batch: Batch) -> ValueAndGrad:
        """Loss and gradients on the recorded batch."""
        at = f"{self._prefix(dtype, size)}{'plain' if batch.masks is None else 'dropout'}/"
        found = self.golden.with_prefix(at + "gradient/")
        inputs = {"input": found.pop("input")}
        return ValueAndGrad(float(self.golden[at + "loss"]), found, inputs)

    def gradients_of_draw(self, size: int, dtype: str, draw: int) -> Mapping[str, Any]:
        """Gradients on one of the recorded batches, without dropout."""
        part = "plain" if draw == 0 else f"draw {draw}"
        return self.golden.with_prefix(f"{self._prefix(dtype, size)}{part}/gradient/")

    def masks(self, size: int, dtype: str) -> Masks | None:
        """The dropout masks that were captured with the gradients; None if there is no dropout."""
        at = f"{self._prefix(dtype, size)}dropout/mask"
        return tuple(self.golden[name] for name in self.golden.names(at)) or None

    def losses(self, dtype: str) -> Mapping[str, Any]:
        """Values and gradients of the loss on logits that saturate and tie."""
        return self.golden.with_prefix(f"{dtype}/{self.part}{self._losses}")

    def losses_of_probabilities(self, dtype: str) -> Mapping[str, Any]:
        """The same from probabilities inside and outside the clip range; empty if not recorded."""
        prefix = f"{dtype}/loss/probabilities/"
        return self.golden.with_prefix(prefix) if self.golden.has(prefix) else {}

    def ties(self, dtype: str) -> Mapping[str, Any]:
        """Values and gradients of ReLU and pooling where their inputs tie."""
        return self.golden.with_prefix(f"{dtype}/ties/")

    def optimise(self, dtype: str, kept_steps: tuple[int, ...]) -> Mapping[str, Any]:
        """Weights and accumulators after the recorded steps."""
        return self.golden.with_prefix(f"{dtype}/{self.part}{self._optimizer}/")

    def train(self, training: Training, dtype: str) -> Mapping[str, Any]:
        """Weights, accumulators and losses of the recorded steps, or of the complete recipe."""
        part = _steps(training.draw) if training.kept_steps == seeded.KEPT_STEPS else "recipe/"
        found = self.golden.with_prefix(f"{dtype}/{self.part}{part}")
        if part == "recipe/":
            steps = training.kept_steps[-1]
            found = {f"{steps}/{name}" if "/" in name else name: v for name, v in found.items()}
        return {name: v for name, v in found.items() if not name.startswith("masks")}

    def step_masks(self, dtype: str, draw: int = 0) -> list[Masks] | list[None]:
        """The dropout masks captured in the recorded steps, padded to the largest batch."""
        prefix = f"{dtype}/{self.part}{_steps(draw)}masks"
        names = self.golden.names(prefix)
        if not names:
            return [None] * seeded.STEPS
        return list(zip(*(self.golden[name] for name in names), strict=True))

    def trainings(
        self,
        dtype: str,
        size: int,
        draws: Sequence[int],
        *,
        steps: int = seeded.STEPS,
        masks_from: str | None = None,
    ) -> list[Training]:
        """The recorded training runs, with the captured dropout masks."""
        return [
            with_masks(
                self.case.steps(size, dtype, draw, steps),
                self.step_masks(masks_from or dtype, draw),
            )
            for draw in draws
        ]

    @functools.cached_property
    def whole_recipe(self) -> Training:
        """The complete training run that was recorded in float64."""
        if self._recorded_recipe is None:
            raise ValueError(f"no complete training run was recorded of {self.name}")
        rows = self.rows(294, 25)
        packed = self.golden["float64/recipe/masks"]
        shape = (len(rows), 25, 64)
        unpacked = np.unpackbits(packed)[: np.prod(shape)].reshape(shape).astype(bool)
        masks = [(mask[: len(chosen)],) for mask, chosen in zip(unpacked, rows, strict=True)]
        return self._recorded_recipe(rows, masks)

    def _prefix(self, dtype: str, size: int) -> str:
        return f"{dtype}/{size}/" if self._by_size else f"{dtype}/{self.part}"


def _steps(draw: int) -> str:
    return "steps/" if draw == 0 else f"steps of draw {draw}/"


def golden_keras(
    case: Case, recorded_recipe: Callable[[Sequence[np.ndarray], Sequence[Masks]], Training]
) -> GoldenOriginal:
    """The recordings of Keras 2.2.4 on TensorFlow 1.12.0.

    Args:
        case: The case of the port.
        recorded_recipe: Makes the recorded complete training run, from rows and masks.

    Raises:
        GoldenError: If the golden file is absent or damaged.
    """
    return GoldenOriginal(
        case,
        Golden("keras-2.2.4"),
        "Keras 2.2.4 on TensorFlow 1.12.0",
        by_size=True,
        losses="loss/logits/",
        optimizer="adam",
        recorded_recipe=recorded_recipe,
    )


def golden_torch(case: Case, part: str) -> GoldenOriginal:
    """The recordings of PyTorch 1.0.0.

    Raises:
        GoldenError: If the golden file is absent or damaged.
    """
    golden = Golden("torch-1.0.0")
    return GoldenOriginal(case, golden, "PyTorch 1.0.0", part=part, optimizer="sgd")
