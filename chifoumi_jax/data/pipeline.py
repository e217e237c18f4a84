"""Batches of pixels: taken on the devices where all pixels fit there, else read ahead by Grain."""

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

# Batches read ahead. Reading one takes some milliseconds, so that two hide any step.
_PREFETCH = 2


class Batch(NamedTuple):
    """Some images; rows of padding have weight 0."""

    pixels: UInt8[np.ndarray | Array, "batch ..."]
    labels: Int32[np.ndarray | Array, " batch"]
    weights: Float32[np.ndarray | Array, " batch"]


class Photos(NamedTuple):
    """Labelled images that batches are taken from."""

    pixels: UInt8[np.ndarray | Array, "images ..."]
    labels: Int32[np.ndarray | Array, " images"]


class Part(NamedTuple):
    """Consecutive steps of a training: which images, and which of them in which step.

    Attributes:
        photos: The images.
        rows: A row of places in `photos` for each step, padded.
        first: The first step's row.
        number: How many steps.
    """

    photos: Photos
    rows: Int32[np.ndarray | Array, "steps batch"]
    first: int
    number: int


def take(photos: Photos, rows: Int32[Array, " batch"]) -> Batch:
    """The images in these places, on the device. Padding repeats the first, with weight 0."""
    places = jnp.maximum(rows, 0)
    weights = (rows != PADDING).astype(jnp.float32)
    return Batch(jnp.asarray(photos.pixels)[places], jnp.asarray(photos.labels)[places], weights)


def gather(
    pixels: UInt8[np.ndarray, "images ..."], split: Split, places: Int32[np.ndarray, " batch"]
) -> Batch:
    """The images at `places` of the split. Padding repeats its first image, with weight 0."""
    weights = (places != PADDING).astype(np.float32)
    places = np.where(places == PADDING, 0, places)
    return Batch(pixels[split.rows[places]], split.labels[places], weights)


def padded_size(batch_size: int, devices: int) -> int:
    """`batch_size` rounded up to a multiple of the number of devices that share a batch."""
    return batch_size + -batch_size % devices


class Resident:
    """Steps on images that all lie on the devices, as `uint8`: an epoch is one call.

    Args:
        pixels: The data set's images.
        split: Those to train on.
        order: Which of them in which step.
        size: Images in a padded batch.
        sharding: Puts the images on the devices, whole on each.
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
        # An image in two classes needs two labels; and each process has a store of its own.
        are_apart = len(np.unique(split.rows)) == len(split) and not several()
        if are_apart and last - first < 2 * len(split):
            # One stretch of the store, others' images among them. On a CPU it stays where it is,
            # mapped from the disk: nothing is copied.
            pixels, self._places = pixels[first : last + 1], split.rows - first
        else:
            pixels, self._places = pixels[split.rows], np.arange(len(split), dtype=np.int32)
        labels = np.zeros(len(pixels), np.int32)
        labels[self._places] = split.labels
        self._photos: Photos = everywhere(Photos(pixels, labels), sharding)
        self._order, self._size = order, size
        self._epoch, self._rows = -1, np.zeros((0, size), np.int32)

    def abstract(self) -> Part:
        """Shapes and types of what `parts` gives."""
        steps = self._order.steps_per_epoch
        return _abstract(self._photos.pixels.shape, (steps, self._size))

    def parts(self, step: int, count: int) -> Iterator[Part]:
        """The next `count` steps, which lie in one epoch, in one part."""
        epoch, first = divmod(step, self._order.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._rows = epoch, self._rows_of(epoch)
        yield Part(self._photos, self._rows, first, count)

    def seek(self, step: int, state: dict[str, int] | None) -> None:
        """Nothing: a step's images depend on its number alone."""

    def state(self) -> None:
        """Nothing, for the same reason."""

    def _rows_of(self, epoch: int) -> Int32[np.ndarray, "steps batch"]:
        steps = self._order.steps_per_epoch
        places = np.stack([pad(self._order[epoch * steps + i], self._size) for i in range(steps)])
        return np.where(places == PADDING, PADDING, self._places[np.maximum(places, 0)])


class Streamed:
    """Steps on images that are read ahead, batch by batch, by Grain's threads.

    Args:
        pixels: The data set's images.
        split: Those to train on.
        order: Which of them in which step.
        size: Images in a padded batch.
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
        """Shapes and types of what `parts` gives."""
        return _abstract((self._size, *self._shape), (1, self._size))

    def parts(self, step: int, count: int) -> Iterator[Part]:
        """The next `count` steps, each a part of its own."""
        for _ in range(count):
            yield next(self._iterator)

    def seek(self, step: int, state: dict[str, int] | None) -> None:
        """Begin with this step, or where a saved `state` stands."""
        self._iterator.set_state({"next_index": step} if state is None else state)

    def state(self) -> dict[str, int]:
        """Where the iterator stands."""
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
