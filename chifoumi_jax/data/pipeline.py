"""Batches of pixels: gathered on the devices if all pixels fit there, else prefetched by Grain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, UInt8

from chifoumi_jax.data.order import PADDING, Order, pad
from chifoumi_jax.distributed import everywhere, several

if TYPE_CHECKING:
    from chifoumi_jax.data.dataset import Split

# Batches to prefetch. Two are enough, because reading a batch takes only some milliseconds.
_PREFETCH = 2


class Batch(NamedTuple):
    """Images of one batch; rows of padding have weight 0."""

    pixels: UInt8[np.ndarray | Array, "batch ..."]
    labels: Int32[np.ndarray | Array, " batch"]
    weights: Float32[np.ndarray | Array, " batch"]


class Photos(NamedTuple):
    """Labelled images that batches are taken from."""

    pixels: UInt8[np.ndarray | Array, "images ..."]
    labels: Int32[np.ndarray | Array, " images"]


class Part(NamedTuple):
    """Consecutive steps of a training: the images, and the indices of each step's images.

    Attributes:
        photos: The images.
        rows: One row of indices into `photos` for each step, padded.
        first: The row of the first step.
        number: Number of steps.
    """

    photos: Photos
    rows: Int32[np.ndarray | Array, "steps batch"]
    first: int
    number: int


def take(photos: Photos, rows: Int32[Array | np.ndarray, " batch"]) -> Batch:
    """The images with these indices, on the device. Padding repeats the first, with weight 0."""
    indices = jnp.maximum(rows, 0)
    weights = (rows != PADDING).astype(jnp.float32)
    return Batch(jnp.asarray(photos.pixels)[indices], jnp.asarray(photos.labels)[indices], weights)


def gather(
    pixels: UInt8[np.ndarray, "images ..."], split: Split, places: Int32[np.ndarray, " batch"]
) -> Batch:
    """The images with the indices `places` in the split. Padding repeats the first, weight 0."""
    weights = (places != PADDING).astype(np.float32)
    places = np.where(places == PADDING, 0, places)
    return Batch(pixels[split.rows[places]], split.labels[places], weights)


def padded_size(batch_size: int, devices: int) -> int:
    """`batch_size` rounded up to a multiple of the number of devices that share a batch."""
    return batch_size + -batch_size % devices


class Resident:
    """Feeds steps from images that are all on the devices, as `uint8`: an epoch is one call.

    Args:
        pixels: The data set's images.
        split: The training images.
        order: The images of each step.
        size: Number of images in a padded batch.
        sharding: Puts all images on every device.
    """

    def __init__(
        self,
        pixels: UInt8[np.ndarray, "images ..."],
        split: Split,
        order: Order,
        size: int,
        sharding: jax.sharding.Sharding,
    ):
        first, last = int(split.rows.min()), int(split.rows.max())
        # An image in two classes needs two labels, and each process has its own store.
        are_separate = len(np.unique(split.rows)) == len(split) and not several()
        if are_separate and last - first < 2 * len(split):
            # One slice of the store, which may include images of other splits. On a CPU it stays
            # memory-mapped from the disk, so nothing is copied.
            pixels, self._indices = pixels[first : last + 1], split.rows - first
        else:
            pixels, self._indices = pixels[split.rows], np.arange(len(split), dtype=np.int32)
        labels = np.zeros(len(pixels), np.int32)
        labels[self._indices] = split.labels
        self._photos: Photos = everywhere(Photos(pixels, labels), sharding)
        self._order, self._size = order, size
        self._epoch, self._rows = -1, np.zeros((0, size), np.int32)

    def abstract(self) -> Part:
        """Shapes and dtypes of the parts."""
        steps = self._order.steps_per_epoch
        return _abstract(self._photos.pixels.shape, (steps, self._size))

    def parts(self, step: int, count: int) -> Iterator[Part]:
        """The next `count` steps, which lie in one epoch, in one part."""
        epoch, first = divmod(step, self._order.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._rows = epoch, self._epoch_rows(epoch)
        yield Part(self._photos, self._rows, first, count)

    def seek(self, step: int, state: dict[str, int] | None) -> None:
        """Does nothing, because a step's images depend on its number alone."""

    def state(self) -> None:
        """None, for the same reason."""

    def _epoch_rows(self, epoch: int) -> Int32[np.ndarray, "steps batch"]:
        steps = self._order.steps_per_epoch
        places = np.stack([pad(self._order[epoch * steps + i], self._size) for i in range(steps)])
        return np.where(places == PADDING, PADDING, self._indices[np.maximum(places, 0)])


class Streamed:
    """Feeds steps from images that Grain's threads prefetch batch by batch.

    Args:
        pixels: The data set's images.
        split: The training images.
        order: The images of each step.
        size: Number of images in a padded batch.
    """

    def __init__(
        self,
        pixels: UInt8[np.ndarray, "images ..."],
        split: Split,
        order: Order,
        size: int,
    ):
        import grain

        def read(places: Int32[np.ndarray, " batch"]) -> Part:
            batch = gather(pixels, split, pad(places, size))
            rows = np.where(batch.weights > 0, np.arange(size, dtype=np.int32), PADDING)
            return Part(Photos(batch.pixels, batch.labels), rows[None], 0, 1)

        options = grain.ReadOptions(num_threads=_PREFETCH, prefetch_buffer_size=_PREFETCH)
        self._iterator: Any = iter(
            grain.MapDataset.source(order).map(read).to_iter_dataset(options)
        )
        self._size, self._shape = size, pixels.shape[1:]

    def abstract(self) -> Part:
        """Shapes and dtypes of the parts."""
        return _abstract((self._size, *self._shape), (1, self._size))

    def parts(self, step: int, count: int) -> Iterator[Part]:
        """The next `count` steps, one part for each."""
        for _ in range(count):
            yield next(self._iterator)

    def seek(self, step: int, state: dict[str, int] | None) -> None:
        """Continue at this step, or at a saved `state` if there is one."""
        self._iterator.set_state({"next_index": step} if state is None else state)

    def state(self) -> dict[str, int]:
        """The position of the iterator."""
        state: dict[str, int] = self._iterator.get_state()
        return state


def _abstract(pixels: tuple[int, ...], rows: tuple[int, ...]) -> Part:
    def part() -> Part:
        photos = Photos(jnp.zeros(pixels, jnp.uint8), jnp.zeros(pixels[:1], jnp.int32))
        return Part(photos, jnp.zeros(rows, jnp.int32), 0, 0)

    return jax.eval_shape(part)


def all_batches(
    pixels: UInt8[np.ndarray, "images ..."], split: Split, batch_size: int, devices: int
) -> Iterator[Batch]:
    """Every image of the split once, in order."""
    size = padded_size(batch_size, devices)
    for start in range(0, len(split), size):
        places = np.arange(start, min(start + size, len(split)), dtype=np.int32)
        yield gather(pixels, split, pad(places, size))
