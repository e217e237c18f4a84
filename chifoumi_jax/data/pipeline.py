"""Batches of pixels, read ahead by Grain's threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float32, Int32, UInt8

from chifoumi_jax.data.order import PADDING, Order, pad

if TYPE_CHECKING:
    from chifoumi_jax.data.dataset import Split

# Batches read ahead. Reading one takes some milliseconds, so that two hide any step.
_PREFETCH = 2


class Batch(NamedTuple):
    """Some images; rows of padding have weight 0."""

    pixels: UInt8[np.ndarray | Array, "batch ..."]
    labels: Int32[np.ndarray | Array, " batch"]
    weights: Float32[np.ndarray | Array, " batch"]


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


def training_batches(
    pixels: UInt8[np.ndarray, "images ..."], split: Split, order: Order, devices: int
) -> Any:
    """The batches of a training, in order.

    Returns:
        A `grain.DatasetIterator` of `Batch`; its `get_state()` says where it stands.
    """
    import grain

    size = padded_size(order.batch_size, devices)

    def read(places: Int32[np.ndarray, " batch"]) -> Batch:
        return gather(pixels, split, pad(places, size))

    options = grain.ReadOptions(num_threads=_PREFETCH, prefetch_buffer_size=_PREFETCH)
    return iter(grain.MapDataset.source(order).map(read).to_iter_dataset(options))


def all_batches(
    pixels: UInt8[np.ndarray, "images ..."], split: Split, batch_size: int, devices: int
) -> Iterator[Batch]:
    """Every image of the split once, in order."""
    size = padded_size(batch_size, devices)
    for start in range(0, len(split), size):
        places = np.arange(start, min(start + size, len(split)), dtype=np.int32)
        yield gather(pixels, split, pad(places, size))
