"""The order of the training images: the rows of the training set in each batch."""

import dataclasses
import functools
import math
from typing import Literal

import numpy as np
from jaxtyping import Int32

PADDING = -1


@dataclasses.dataclass(frozen=True)
class Order:
    """A sequence of batches: item `step` holds the rows shown in that step.

    The rows are shuffled again for each *pass* of ceil(images / batch) batches. The last batch of a
    pass is smaller unless the numbers divide; its missing rows are `PADDING`. An item depends on
    its step and the seed alone, so a run can be resumed at any step.

    With `kind="all"` an epoch is a pass. With `kind="keras"` an epoch has images // batch steps, as
    the study requested from `fit_generator`, and passes continue across epochs. With 294 images in
    batches of 25, the first epoch sees 275 images and each later one 269, and the batch of 19 comes
    one step later in every epoch.

    Source: Keras 2.2.4, `keras_preprocessing.image.Iterator`; PyTorch 1.0.0, `DataLoader`.
    """

    images: int
    batch_size: int
    epochs: int
    seed: int
    kind: Literal["keras", "all"] = "all"

    def __post_init__(self) -> None:
        if self.images < 1 or self.batch_size < 1:
            raise ValueError(
                f"batches of {self.batch_size} cannot be made from {self.images} images; "
                "both numbers must be at least 1"
            )

    @property
    def steps_per_pass(self) -> int:
        """Number of batches that show every image once."""
        return math.ceil(self.images / self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        if self.kind == "keras":
            return max(1, self.images // self.batch_size)
        return self.steps_per_pass

    def __len__(self) -> int:
        """Number of batches in all epochs."""
        return self.epochs * self.steps_per_epoch

    def __getitem__(self, step: int) -> Int32[np.ndarray, " batch"]:
        """Rows of batch `step`, counted from the start of the first epoch."""
        number, slot = divmod(step, self.steps_per_pass)
        rows = _shuffled(self.images, self.seed, number)
        return pad(rows[slot * self.batch_size :][: self.batch_size], self.batch_size)


@functools.lru_cache(maxsize=2)
def _shuffled(images: int, seed: int, number: int) -> Int32[np.ndarray, " images"]:
    return np.random.default_rng([seed, number]).permutation(images).astype(np.int32)


def pad(rows: np.ndarray, length: int) -> Int32[np.ndarray, " length"]:
    """`rows`, padded to `length` with `PADDING`."""
    padded = np.full(length, PADDING, np.int32)
    padded[: len(rows)] = rows
    return padded
