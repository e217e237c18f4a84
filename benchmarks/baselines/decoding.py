"""Loads a folder of photos, and decodes the same files with libjpeg-turbo only."""

import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chifoumi_jax import recipes
from chifoumi_jax.data.dataset import load_dataset

WARM_UP = 1


def _load(directory: str, image_size: int) -> None:
    recipe = recipes.cnn.replace(data=directory, image_size=image_size)
    load_dataset(recipe, Path(directory), Path(tempfile.gettempdir()))


def first_epoch(directory: str, image_size: int) -> Callable[[], None]:
    """Load the photos as before a first training, with an empty cache."""

    def work() -> None:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache
            _load(directory, image_size)

    return work


def cached(directory: str, image_size: int) -> Callable[[], None]:
    """Load the photos as before a second training, from the cache."""
    cache = tempfile.TemporaryDirectory()

    def work() -> None:
        os.environ["XDG_CACHE_HOME"] = cache.name
        _load(directory, image_size)

    return work


def libjpeg_turbo(directory: str, image_size: int) -> Callable[[], None]:
    """Decode every file at full size with libjpeg-turbo, with one thread and buffer per core."""
    import numpy as np
    import simplejpeg

    files = sorted(Path(directory).rglob("*.jpg"))
    buffers = threading.local()

    def decode(path: Path) -> None:
        content = path.read_bytes()
        height, width = simplejpeg.decode_jpeg_header(content)[:2]
        if getattr(buffers, "pixels", np.zeros(0)).shape != (height, width, 4):
            buffers.pixels = np.empty((height, width, 4), np.uint8)
        simplejpeg.decode_jpeg(content, "RGBX", buffer=buffers.pixels)

    def work() -> None:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(decode, files))

    return work
