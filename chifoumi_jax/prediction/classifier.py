"""A trained model that classifies photos: `load(run).predict(photos)`."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float32, Int, UInt8
from PIL import Image

from chifoumi_jax.data.decode import open_checked, to_rgb
from chifoumi_jax.data.pipeline import Batch, padded_size
from chifoumi_jax.data.pixels import load_pixels, resize_pixels
from chifoumi_jax.prediction import gradcam
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.calibration import UNCALIBRATED, Calibration
from chifoumi_jax.training.program import Program, build_input
from chifoumi_jax.training.run import RunError
from chifoumi_jax.training.step import Params

_T = TypeVar("_T")
PhotoLike = str | os.PathLike[str] | np.ndarray | Image.Image


class Prediction(NamedTuple):
    """A classifier's answers for some photos.

    Attributes:
        labels: Each photo's most probable class.
        probabilities: A row for each photo, a column for each class; a row sums to 1.
    """

    labels: list[str]
    probabilities: Float32[np.ndarray, "images classes"]


class Classifier:
    """A run's model.

    Attributes:
        recipe: The run's recipe, which defines how photos become pixels.
        classes: Names of the classes, in the order of the probabilities.
        program: The compiled model.
        weights: The weights to evaluate it with.
        calibration: Temperature and threshold of its probabilities.
    """

    def __init__(
        self,
        recipe: Recipe,
        classes: Sequence[str],
        program: Program,
        weights: Params,
        calibration: Calibration = UNCALIBRATED,
    ):
        self.recipe = recipe
        self.classes = tuple(classes)
        self.program = program
        self.weights = weights
        self.calibration = calibration

    def predict(
        self, photos: PhotoLike | Sequence[PhotoLike], *, batch_size: int = 25
    ) -> Prediction:
        """Classify photos.

        Args:
            photos: One photo or a sequence of photos, of any size: a path, a decoded image, or a
                uint8 array of shape (height, width) or (height, width, 3).
            batch_size: Photos in a batch; the answers do not depend on it.

        Raises:
            ImageProblem: If a file is not a readable picture.
            ValueError: If an array is not a picture.
        """
        rows = np.concatenate(
            [np.zeros((0, len(self.classes)), np.float32)]
            + [self.probabilities(pixels) for pixels in self._batches(photos, batch_size)]
        )
        return Prediction([self.classes[label] for label in np.argmax(rows, axis=1)], rows)

    def explain(
        self,
        photos: PhotoLike | Sequence[PhotoLike],
        label: str | None = None,
        *,
        batch_size: int = 25,
    ) -> Float32[np.ndarray, "images size size"]:
        """Grad-CAM heat maps in [0, 1], which show where in each photo the network sees a class.

        A map covers the whole photo at the size of the network's input; `heatmap.heat_picture`
        draws it over the photo. Its largest value is 1, or all values are 0 if nothing in the photo
        is evidence for the class.

        Args:
            photos: As in `predict`.
            label: The class; by default each photo's most probable class.
            batch_size: Photos in a batch.

        Raises:
            RunError: If the network is a perceptron, which has no feature map.
            ImageProblem: If a file is not a readable picture.
            ValueError: If an array is not a picture, or the class does not exist.
        """
        if label is not None and label not in self.classes:
            raise ValueError(f"label must be one of {', '.join(self.classes)}, not {label}")
        gradcam.require_feature_map(self.recipe)
        size = self.recipe.image_size
        heats = [np.zeros((0, size, size), np.float32)]
        for pixels in self._batches(photos, batch_size):
            labels = (
                np.argmax(self.probabilities(pixels), axis=1)
                if label is None
                else np.full(len(pixels), self.classes.index(label))
            )
            heats.append(self.heat(pixels, labels))
        return np.concatenate(heats)

    def pixels(self, photo: PhotoLike) -> UInt8[np.ndarray, ...]:
        """A photo's pixels in the size and layout of the network's input."""
        recipe = self.recipe
        if isinstance(photo, str | os.PathLike):
            return load_pixels(photo, recipe.image_size, recipe.layout, recipe.upright)
        return resize_pixels(_image(photo), recipe.image_size, recipe.layout, recipe.upright)

    def picture(self, photo: PhotoLike, longest: int) -> Image.Image:
        """A photo to show: RGB, oriented as the network sees it, no side over `longest` pixels.

        Only the pixels are kept: no EXIF, no GPS position, no comment.
        """
        opened = open_checked(photo) if isinstance(photo, str | os.PathLike) else _image(photo)
        rgb = to_rgb(opened, upright=self.recipe.upright)
        rgb.thumbnail((longest, longest), reducing_gap=3.0)
        return Image.fromarray(np.asarray(rgb))

    def probabilities(
        self, pixels: UInt8[np.ndarray, "batch ..."]
    ) -> Float32[np.ndarray, "batch classes"]:
        """Class probabilities for pixels that `pixels` returned.

        Raises:
            RunError: If they are not finite, because the training diverged.
        """
        count = len(pixels)
        padded = self._pad(pixels)
        size = len(padded)
        batch = Batch(padded, np.zeros(size, np.int32), np.ones(size, np.float32))
        rows, _ = self.program.evaluate(self.weights, batch)
        return self.calibrated(np.asarray(rows)[:count])

    def calibrated(
        self, rows: Float32[np.ndarray, "images classes"]
    ) -> Float32[np.ndarray, "images classes"]:
        """The network's raw probabilities scaled by the run's temperature.

        Raises:
            RunError: If they are not finite, because the training diverged.
        """
        if not np.isfinite(rows).all():
            raise RunError(
                "the run's probabilities are not finite, because its training diverged: use an "
                "earlier checkpoint (--best), or train again with a smaller learning rate"
            )
        return self.calibration.apply_temperature(rows)

    def heat(
        self, pixels: UInt8[np.ndarray, "batch ..."], labels: Int[np.ndarray, " batch"]
    ) -> Float32[np.ndarray, "batch size size"]:
        """Heat maps, as `explain` gives, for pixels that `pixels` returned and these labels."""
        gradcam.require_feature_map(self.recipe)
        padded = self._pad(pixels)
        padded_labels = np.zeros(len(padded), np.int32)
        padded_labels[: len(labels)] = labels
        return np.asarray(self._explanation(self.weights, padded, padded_labels))[: len(pixels)]

    @functools.cached_property
    def _explanation(self) -> gradcam.Explanation:
        recipe, program = self.recipe, self.program
        return gradcam.make_explanation(
            program.graph, build_input(recipe), program.mesh, mirror=recipe.mirror_test
        )

    def _batches(
        self, photos: PhotoLike | Sequence[PhotoLike], batch_size: int
    ) -> Iterator[UInt8[np.ndarray, "batch ..."]]:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if isinstance(photos, str | os.PathLike | np.ndarray | Image.Image):
            photos = [photos]
        for chunk in chunks(photos, batch_size):
            yield np.stack([self.pixels(photo) for photo in chunk])

    def _pad(self, pixels: UInt8[np.ndarray, "batch ..."]) -> UInt8[np.ndarray, "size ..."]:
        # Powers of two, because each new batch shape is compiled.
        size = padded_size(1 << (len(pixels) - 1).bit_length(), self.program.devices)
        padded = np.zeros((size, *pixels.shape[1:]), np.uint8)
        padded[: len(pixels)] = pixels
        return padded


def _image(photo: np.ndarray | Image.Image) -> Image.Image:
    if isinstance(photo, Image.Image):
        return photo
    if photo.dtype != np.uint8 or photo.ndim not in (2, 3) or photo.shape[2:] not in ((), (3,)):
        raise ValueError(
            f"a photo array must be uint8 of shape (height, width) or (height, width, 3), "
            f"not {photo.dtype} {photo.shape}"
        )
    return Image.fromarray(photo)


def chunks(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Split items into groups of `size`, in order; the last group may be smaller."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
