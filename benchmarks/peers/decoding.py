"""Reading a folder of photos, and libjpeg-turbo alone on the same files."""

import os
import tempfile
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
    cache = tempfile.mkdtemp()

    def work() -> None:
        os.environ["XDG_CACHE_HOME"] = cache
        _load(directory, image_size)

    return work


def decoded(directory: str, image_size: int) -> Callable[[], None]:
    """Every file decoded at full size by libjpeg-turbo, with a thread for each core."""
    import simplejpeg

    files = sorted(Path(directory).rglob("*.jpg"))

    def one(path: Path) -> None:
        simplejpeg.decode_jpeg(path.read_bytes(), "RGB")

    def work() -> None:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(one, files))

    return work
