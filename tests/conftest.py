"""Fixtures: small folders of photos, and the folder of real ones where there is one."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from PIL import Image

# For each class how fast its stripes turn along the rows and along the columns.
STRIPES = {"paper": (0.6, 0.0), "rock": (0.0, 0.6), "scissors": (0.45, 0.45)}


def write_photos(root: Path, per_class: int, seed: int = 0, size: int = 40) -> Path:
    """Noisy stripes whose direction says the class: any training that works learns them."""
    random = np.random.default_rng(seed)
    for name, (down, across) in STRIPES.items():
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            y, x = np.ogrid[:size, : size + number % 3]
            stripes = 128 + 80 * np.sin(down * y + across * x)
            pixels = stripes[..., None] + random.normal(0, 20, (*stripes.shape, 3))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(root / name / f"{number:03}.png")
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 14 training and 4 test photos of each class."""
    root = tmp_path_factory.mktemp("photos")
    write_photos(root / "train", 14, seed=1)
    write_photos(root / "test", 4, seed=2)
    return root


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What XLA compiles for one training serves the module's others: a large network takes long."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[0], str(tmp_path_factory.mktemp("compiled")))
    jax.config.update(names[1], 0.5)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture(scope="session")
def real_photos() -> Path:
    """The folder of real photos that CHIFOUMI_PHOTOS names."""
    if "CHIFOUMI_PHOTOS" not in os.environ:
        pytest.skip("no real photos: set CHIFOUMI_PHOTOS to a folder of them")
    return Path(os.environ["CHIFOUMI_PHOTOS"])
