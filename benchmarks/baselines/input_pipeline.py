"""Time that a training step waits for its images: gathered on the device, or read by threads."""

from collections.abc import Callable

import jax
import numpy as np

from benchmarks.baselines import inputs
from chifoumi_jax.data.dataset import Split
from chifoumi_jax.data.order import Order
from chifoumi_jax.data.pipeline import Photos, Streamed, take

# Size of the data set, in batches.
BATCHES = 8


def resident(batch_size: int, image_size: int) -> Callable[[], None]:
    """Gather a batch of images from a data set on the device."""
    pixels, split, order = _source(batch_size, image_size)
    photos = jax.device_put(Photos(pixels, split.labels))
    gather, steps = jax.jit(take), iter(order)
    return lambda: jax.block_until_ready(gather(photos, next(steps)))


def streamed(batch_size: int, image_size: int) -> Callable[[], None]:
    """Get the next batch that threads read ahead, with no training step in between to hide it."""
    feed = Streamed(*_source(batch_size, image_size), batch_size)
    feed.seek(0, None)
    return lambda: jax.block_until_ready([jax.device_put(part.photos) for part in feed.parts(0, 1)])


def _source(batch_size: int, image_size: int) -> tuple[np.ndarray, Split, Order]:
    count = BATCHES * batch_size
    rows = np.arange(count, dtype=np.int32)
    split = Split((), rows, inputs.labels(count))
    order = Order(count, batch_size, epochs=10_000, seed=0, kind="all")
    return inputs.images(count, image_size), split, order
