"""Fixtures: small folders of photos, the folder of real photos if there is one, trained runs."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from chifoumi_jax import fit, recipes
from chifoumi_jax.training import pictures
from tests.hands import write_hands_and_nothing

# The phase of the stripes, in radians per pixel: downwards and across, for each class.
STRIPES = {"paper": (0.6, 0.0), "rock": (0.0, 0.6), "scissors": (0.45, 0.45)}


def write_photos(root: Path, per_class: int, seed: int = 0, size: int = 40) -> Path:
    """Write noisy stripes whose direction is the class, which any working training learns."""
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


@pytest.fixture(scope="session", autouse=True)
def draw_pictures() -> Iterator[Callable[..., None]]:
    """The function that draws a run's pictures.

    Trainings in this process do not draw them, because that takes a third of their time.
    """
    with pytest.MonkeyPatch.context() as patch:
        write_report = pictures.write_report
        patch.setattr(pictures, "write_report", lambda *_: None)
        yield write_report


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 14 training and 4 test photos of each class."""
    root = tmp_path_factory.mktemp("photos")
    write_photos(root / "train", 14, seed=1)
    write_photos(root / "test", 4, seed=2)
    return root


@pytest.fixture(scope="session")
def real_photos() -> Path:
    """The folder of real photos that CHIFOUMI_PHOTOS names."""
    if not os.environ.get("CHIFOUMI_PHOTOS"):
        pytest.skip("no real photos: set CHIFOUMI_PHOTOS to a folder of them")
    return Path(os.environ["CHIFOUMI_PHOTOS"])


@pytest.fixture(scope="session")
def hands_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the CNN on rendered hands and the class "nothing"; trained once per session."""
    base = tmp_path_factory.getbasetemp()
    # With pytest-xdist each worker has its own folder inside the session's folder.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    runs = shared / "hands-runs"
    with FileLock(shared / "hands-runs.lock"):
        if not runs.exists():
            photos = write_hands_and_nothing(shared / "hands-photos", 24)
            recipe = recipes.cnn.replace(
                data=photos, image_size=48, epochs=14, learning_rate=1e-3, runs=runs
            )
            fit(recipe, quiet=True)
    return runs / "cnn-1"
