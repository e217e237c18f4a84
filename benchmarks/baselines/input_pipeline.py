"""What a training step waits for its images: taken on the device, or read ahead by threads."""

from collections.abc import Callable

import jax
import numpy as np

from benchmarks.baselines import inputs
from chifoumi_jax.data.dataset import Split
from chifoumi_jax.data.order import Order
from chifoumi_jax.data.pipeline import Photos, Streamed, take

# Batches that the images are drawn from.
BATCHES = 8


def resident(batch_size: int, image_size: int) -> Callable[[], None]:
    """A batch of images that lie on the device, gathered there."""
    pixels, split, order = _source(batch_size, image_size)
    photos = jax.device_put(Photos(pixels, split.labels))
    gather, steps = jax.jit(take), iter(order)
    return lambda: jax.block_until_ready(gather(photos, next(steps)))


def streamed(batch_size: int, image_size: int) -> Callable[[], None]:
    """The next batch of those that threads read ahead, with no step between to hide it."""
    feed = Streamed(*_source(batch_size, image_size), batch_size)
    feed.seek(0, None)
    return lambda: jax.block_until_ready([jax.device_put(part.photos) for part in feed.parts(0, 1)])


def _source(batch_size: int, image_size: int) -> tuple[np.ndarray, Split, Order]:
    count = BATCHES * batch_size
    rows = np.arange(count, dtype=np.int32)
    split = Split((), rows, inputs.labels(count))
    order = Order(count, batch_size, epochs=10_000, seed=0, kind="all")
    return inputs.images(count, image_size), split, order
