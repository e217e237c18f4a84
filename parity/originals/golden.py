"""The originals on the software of 2018, as recorded in `reference/legacy/golden`."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parity.cases import Batch, Masks, Training
from parity.comparison import Sampled
from parity.original import Original, OriginalError
from parity.slope import Slope
from parity.systems.case import Case, with_masks
from reference.legacy import seeded

_FOLDER = Path(seeded.__file__).parent / "golden"


class GoldenError(OriginalError):
    """A golden file is absent, or not what its sum says."""


class Golden:
    """One golden file: whole arrays and samples by name, and what was written about them."""

    def __init__(self, name: str, folder: Path = _FOLDER):
        path = folder / f"{name}.npz"
        try:
            self.text: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
            content = path.read_bytes()
        except OSError as error:
            raise GoldenError(f"{error.filename}: {error.strerror}; check it out again") from error
        if hashlib.sha256(content).hexdigest() != self.text["sha256"]:
            raise GoldenError(
                f"{path} is not the file that its .json describes; check it out again"
            )
        with np.load(path, allow_pickle=False) as arrays:
            self._arrays = {key: arrays[key] for key in arrays.files}

    def __getitem__(self, name: str) -> Any:
        """The array, or the sample of one."""
        values = self._arrays[name]
        shape = self.text["shapes"].get(name)
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

    def under(self, prefix: str) -> dict[str, Any]:
        """All whose names begin with `prefix`, by the rest of their names.

        Raises:
            GoldenError: If there is none.
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
    """What Keras 2.2.4 or PyTorch 1.0.0 did.

    Attributes:
        golden: The file.
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
        """What was recorded for a case.

        Args:
            case: The port's.
            golden: The file.
            name: Framework and version.
            part: See the class.
            by_size: Whether outputs and gradients were recorded for several sizes of images.
            losses: Prefix of the losses from logits, after `part`.
            optimizer: Name of the optimizer's arrays.
            recorded_recipe: From rows and masks to the whole training that was recorded.
        """
        self.case = case
        self.golden = golden
        self.name = name
        self.part = part
        self.lists_functions = "layers" in golden.text
        self._by_size = by_size
        self._losses = losses
        self._optimizer = optimizer
        self._recorded_recipe = recorded_recipe

    @property
    def sizes(self) -> tuple[int, ...]:
        """Those that were recorded."""
        return self.case.recorded_sizes

    def structure(self) -> list[tuple[str, str, tuple[int | None, ...], int]]:
        """Layers at the study's size; for PyTorch, of those that have weights."""
        if self.lists_functions:
            return [
                (row["name"], row["kind"], tuple(row["output_shape"]), row["params"])
                for row in self.golden.text["layers"]
            ]
        shapes: dict[str, list[list[int]]] = {}
        for row in self.golden.text[f"structure {self.part.rstrip('/')}"]:
            shapes.setdefault(row["name"].partition(".")[0], []).append(row["shape"])
        return [
            (name, "Linear", (None, weight[0]), int(np.prod(weight)) + int(np.prod(bias)))
            for name, (weight, bias) in shapes.items()
        ]

    def initial(self, draws: int) -> Mapping[str, np.ndarray]:
        """Moments of the initial weights; as many draws as were recorded."""
        return self.golden.under("initial/")

    def pixels(self) -> Mapping[str, Any]:
        """What the loader and the augmentation made of the decoded cases."""
        found: dict[str, Any] = {}
        for prefix in ("pixels/", "turned/"):
            if self.golden.has(prefix):
                found |= {prefix + name: v for name, v in self.golden.under(prefix).items()}
        names = ("mirrored", "upside down")
        return {**found, **{n: self.golden[n] for n in names if self.golden.has(n)}}

    def scaled(self) -> Mapping[str, Any]:
        """What became of each of the 256 values."""
        return {"every value": self.golden["scaled/every"].reshape(-1)}

    def order(self, images: int, batch_size: int, steps: int) -> list[int]:
        """Sizes of the batches that were trained on."""
        return [len(rows) for rows in self.rows(images, batch_size)][:steps]

    def rows(self, images: int, batch_size: int) -> list[np.ndarray]:
        """The rows of each batch that was trained on."""
        if self.golden.has("order/"):
            (found,) = self.golden.under(f"order/{images}-{batch_size}-").values()
        else:
            recorded = self.golden["order"]
            found = recorded.reshape(-1, recorded.shape[-1])
        return [row[row >= 0] for row in found]

    def forward(self, size: int, dtype: str) -> Mapping[str, Any]:
        """Every layer's output of the case's first batch."""
        found = self.golden.under(f"{self._at(dtype, size)}forward/")
        return {**found, "whole": found[list(found)[-1]]}

    def gradients(self, size: int, dtype: str, batch: Batch) -> Slope:
        """Loss and gradients of the recorded batch."""
        at = f"{self._at(dtype, size)}{'plain' if batch.masks is None else 'dropout'}/"
        found = self.golden.under(at + "gradient/")
        inputs = {"input": found.pop("input")}
        return Slope(float(self.golden[at + "loss"]), found, inputs)

    def gradients_of_draw(self, size: int, dtype: str, draw: int) -> Mapping[str, Any]:
        """Gradients of one of the recorded batches, without dropout."""
        part = "plain" if draw == 0 else f"draw {draw}"
        return self.golden.under(f"{self._at(dtype, size)}{part}/gradient/")

    def masks(self, size: int, dtype: str) -> Masks | None:
        """The masks that were captured in the recorded gradients; none if it has no dropout."""
        at = f"{self._at(dtype, size)}dropout/mask"
        return tuple(self.golden[name] for name in self.golden.names(at)) or None

    def losses(self, dtype: str) -> Mapping[str, Any]:
        """Value and gradient of the loss where it saturates and ties."""
        return self.golden.under(f"{dtype}/{self.part}{self._losses}")

    def losses_of_probabilities(self, dtype: str) -> Mapping[str, Any]:
        """The same from probabilities, inside and outside the clip; empty if not recorded."""
        prefix = f"{dtype}/loss/probabilities/"
        return self.golden.under(prefix) if self.golden.has(prefix) else {}

    def ties(self, dtype: str) -> Mapping[str, Any]:
        """Values and gradients where values tie."""
        return self.golden.under(f"{dtype}/ties/")

    def optimise(self, dtype: str, kept_steps: tuple[int, ...]) -> Mapping[str, Any]:
        """Weights and means after the recorded steps."""
        return self.golden.under(f"{dtype}/{self.part}{self._optimizer}/")

    def train(self, training: Training, dtype: str) -> Mapping[str, Any]:
        """Weights, means and losses of the recorded steps, or of the whole recipe."""
        part = _steps(training.draw) if training.kept_steps == seeded.KEPT_STEPS else "recipe/"
        found = self.golden.under(f"{dtype}/{self.part}{part}")
        if part == "recipe/":
            steps = training.kept_steps[-1]
            found = {f"{steps}/{name}" if "/" in name else name: v for name, v in found.items()}
        return {name: v for name, v in found.items() if not name.startswith("masks")}

    def step_masks(self, dtype: str, draw: int = 0) -> list[Masks] | list[None]:
        """The masks that were captured in the recorded steps, padded to the largest batch."""
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
        """The recorded trainings, with the masks that were captured."""
        return [
            with_masks(
                self.case.steps(size, dtype, draw, steps),
                self.step_masks(masks_from or dtype, draw),
            )
            for draw in draws
        ]

    @functools.cached_property
    def whole_recipe(self) -> Training | None:
        """The whole recipe that was recorded in float64, if one was."""
        if self._recorded_recipe is None:
            return None
        rows = self.rows(294, 25)
        packed = self.golden["float64/recipe/masks"]
        shape = (len(rows), 25, 64)
        unpacked = np.unpackbits(packed)[: np.prod(shape)].reshape(shape).astype(bool)
        masks = [(mask[: len(chosen)],) for mask, chosen in zip(unpacked, rows, strict=True)]
        return self._recorded_recipe(rows, masks)

    def _at(self, dtype: str, size: int) -> str:
        return f"{dtype}/{size}/" if self._by_size else f"{dtype}/{self.part}"


def _steps(draw: int) -> str:
    return "steps/" if draw == 0 else f"steps of draw {draw}/"


def golden_keras(case: Case) -> GoldenOriginal:
    """Keras 2.2.4 on TensorFlow 1.12.0.

    Raises:
        GoldenError: If the golden file is absent or damaged.
    """
    from parity.systems.study_cnn import cnn_recipe

    return GoldenOriginal(
        case,
        Golden("keras-2.2.4"),
        "Keras 2.2.4 on TensorFlow 1.12.0",
        by_size=True,
        losses="loss/logits/",
        optimizer="adam",
        recorded_recipe=lambda rows, masks: cnn_recipe("float64", rows, masks),
    )


def golden_torch(case: Case, part: str) -> GoldenOriginal:
    """PyTorch 1.0.0.

    Raises:
        GoldenError: If the golden file is absent or damaged.
    """
    golden = Golden("torch-1.0.0")
    return GoldenOriginal(case, golden, "PyTorch 1.0.0", part=part, optimizer="sgd")
