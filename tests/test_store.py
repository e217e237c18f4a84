from pathlib import Path

import numpy as np
import pytest

from chifoumi_jax.data.store import PixelStore


def test_keeps_what_was_added(tmp_path: Path) -> None:
    store = PixelStore(tmp_path, (2, 3))
    images = np.random.default_rng(0).integers(0, 256, (5, 2, 3), np.uint8)
    for number, image in enumerate(images):
        store.add(str(number), image[:, ::-1][:, ::-1])
    store.add("3", np.zeros((2, 3), np.uint8))
    pixels = store.pixels()
    assert len(store) == 5
    np.testing.assert_array_equal(pixels[[store.rows[str(n)] for n in range(5)]], images)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0


def test_leaves_no_file(tmp_path: Path) -> None:
    store = PixelStore(tmp_path, (4,))
    store.add("a", np.arange(4, dtype=np.uint8))
    assert not list(tmp_path.iterdir())
    assert PixelStore(tmp_path, (4,)).pixels().shape == (0, 4)


@pytest.mark.parametrize("pixels", [np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.float32)])
def test_refuses_another_shape_or_type(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        PixelStore(tmp_path, (2, 3)).add("a", pixels)
