"""Reading a folder of photos, and libjpeg-turbo alone on the same files."""

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
    """Everything that is done before a first training."""

    def work() -> None:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["XDG_CACHE_HOME"] = cache
            _load(directory, image_size)

    return work


def kept(directory: str, image_size: int) -> Callable[[], None]:
    """The same before a second one."""
    cache = tempfile.TemporaryDirectory()

    def work() -> None:
        os.environ["XDG_CACHE_HOME"] = cache.name
        _load(directory, image_size)

    return work


def decoded(directory: str, image_size: int) -> Callable[[], None]:
    """Every file decoded at full size by libjpeg-turbo, in a thread and its memory a core."""
    import numpy as np
    import simplejpeg

    files = sorted(Path(directory).rglob("*.jpg"))
    of_thread = threading.local()

    def one(path: Path) -> None:
        content = path.read_bytes()
        height, width = simplejpeg.decode_jpeg_header(content)[:2]
        if getattr(of_thread, "pixels", np.zeros(0)).shape != (height, width, 4):
            of_thread.pixels = np.empty((height, width, 4), np.uint8)
        simplejpeg.decode_jpeg(content, "RGBX", buffer=of_thread.pixels)

    def work() -> None:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(one, files))

    return work
