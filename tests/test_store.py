import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chifoumi_jax.data.dataset import load_dataset
from chifoumi_jax.data.decode import decode
from chifoumi_jax.data.store import PixelStore, trim
from chifoumi_jax.recipes import RECIPES
from tests.conftest import write_photos

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 2, 3), np.uint8)
KEYS = [hashlib.sha256(image.tobytes()).hexdigest() for image in IMAGES]


def filled(directory: Path) -> PixelStore:
    store = PixelStore(directory, (2, 3))
    for number, (key, image) in enumerate(zip(KEYS, IMAGES, strict=True)):
        store.add(key, image[:, ::-1][:, ::-1], 30 + number, 20)
    return store


def assert_holds(store: PixelStore, numbers: list[int]) -> None:
    rows = [store.rows[KEYS[number]] for number in numbers]
    np.testing.assert_array_equal(store.pixels()[rows], IMAGES[numbers])


def test_added_images_are_stored(tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    store.add(KEYS[3], np.zeros((2, 3), np.uint8), 1, 1)
    assert len(store) == 5
    assert_holds(store, [0, 1, 2, 3, 4])
    with pytest.raises(ValueError, match="read-only"):
        store.pixels()[0] = 0


def test_the_next_process_finds_the_images(tmp_path: Path) -> None:
    filled(tmp_path / "store")
    store = PixelStore(tmp_path / "store", (2, 3))
    assert len(store) == 0, "an image is in use only after `find` or `add`"
    found = [store.find(key) for key in KEYS]
    assert [(kept.width, kept.height) for kept in found if kept] == [(30 + n, 20) for n in range(5)]
    assert store.find("ab" * 32) is None
    assert_holds(store, [0, 1, 2, 3, 4])
    assert (tmp_path / "store").stat().st_mode & 0o77 == 0, "only the owner may read the photos"


def test_a_temporary_store_leaves_no_file(tmp_path: Path) -> None:
    store = PixelStore(tmp_path / "store", (2, 3), temporary=True)
    store.add(KEYS[0], IMAGES[0], 1, 1)
    assert not list(tmp_path.iterdir())
    assert_holds(store, [0])
    assert PixelStore(tmp_path / "other", (4,)).pixels().shape == (0, 4)


@pytest.mark.parametrize("pixels", [np.zeros((3, 2), np.uint8), np.zeros((2, 3), np.float32)])
def test_another_shape_or_dtype_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        PixelStore(tmp_path, (2, 3)).add(KEYS[0], pixels, 1, 1)


@pytest.mark.parametrize("place", range(0, 64 * 6, 7))
def test_a_damaged_index_record_loses_its_image_only(tmp_path: Path, place: int) -> None:
    filled(tmp_path)
    index = tmp_path / "index"
    content = bytearray(index.read_bytes())
    content[place] ^= 0x40
    index.write_bytes(content)
    store = PixelStore(tmp_path, (2, 3))
    found = [number for number, key in enumerate(KEYS) if store.find(key)]
    # The header has 64 bytes, and so has a record; some bytes of both are unused.
    damaged = place // 64 - 1
    assert set(range(5)) - {damaged} <= set(found) or (place < 24 and found == [])
    assert_holds(store, found)
    again = filled(tmp_path)
    assert_holds(again, [0, 1, 2, 3, 4])


@pytest.mark.parametrize("length", [0, 10, 64, 64 + 63, 64 + 3 * 64 + 1])
def test_a_truncated_index_can_be_used_again(tmp_path: Path, length: int) -> None:
    filled(tmp_path)
    os.truncate(tmp_path / "index", length)
    store = filled(tmp_path)
    assert_holds(store, [0, 1, 2, 3, 4])
    assert all(PixelStore(tmp_path, (2, 3)).find(key) for key in KEYS)


def test_damaged_pixels_are_not_used(tmp_path: Path) -> None:
    filled(tmp_path)
    (images,) = tmp_path.glob("images-*")
    content = bytearray(images.read_bytes())
    content[6 * 2 + 1] ^= 1
    images.write_bytes(content)
    store = PixelStore(tmp_path, (2, 3))
    assert [store.find(key) is not None for key in KEYS] == [True, True, False, True, True]
    assert_holds(filled(tmp_path), [0, 1, 2, 3, 4])
    os.truncate(images, 8)
    assert_holds(filled(tmp_path), [0, 1, 2, 3, 4])


def test_processes_share_a_store(tmp_path: Path) -> None:
    code = f"""
import sys, numpy as np
from pathlib import Path
from typing import Any
from chifoumi_jax.data.store import PixelStore
store = PixelStore(Path({str(tmp_path)!r}), (1000,))
for number in range(300):
    value = 2 * number + int(sys.argv[1]) if number % 3 else number
    store.add(f"{{value:064x}}", np.full(1000, value % 251, np.uint8), value + 1, 1)
rows = {{int(key, 16): row for key, row in store.rows.items()}}
assert len(rows) == len(store)
pixels = store.pixels()
assert all((pixels[row] == value % 251).all() for value, row in rows.items())
"""
    both = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    store = PixelStore(tmp_path, (1000,))
    wanted = {2 * n + p if n % 3 else n for n in range(300) for p in range(2)}
    for value in wanted:
        kept = store.find(f"{value:064x}")
        assert kept is not None
        assert kept.width == value + 1
        assert (store.pixels()[kept.row] == value % 251).all()


def test_trimming_removes_the_oldest_store_but_open_stores_still_work(tmp_path: Path) -> None:
    stores = []
    for number in range(3):
        store = PixelStore(tmp_path / f"kind-{number}", (100_000,))
        store.add(KEYS[0], np.full(100_000, number, np.uint8), 1, 1)
        stores.append(store)
        os.utime(tmp_path / f"kind-{number}" / "index", (time.time() - 100 + number,) * 2)
    trim(tmp_path, 250_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kind-1", "kind-2"]
    assert (stores[0].pixels() == 0).all()
    stores[0].add(KEYS[1], np.full(100_000, 9, np.uint8), 1, 1)
    assert (stores[0].pixels()[1] == 9).all()
    trim(tmp_path, 0)
    assert not list(tmp_path.iterdir())
    assert len(PixelStore(tmp_path / "kind-0", (100_000,)).pixels()) == 0


def test_trimming_spares_the_store_in_use_and_half_removed_stores(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        PixelStore(tmp_path / name, (100_000,)).add(KEYS[0], np.zeros(100_000, np.uint8), 1, 1)
    (tmp_path / "half-removed").mkdir()
    (tmp_path / "a file").touch()
    trim(tmp_path, 0, spare=tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "half-removed", "mine"]


def test_two_runs_on_a_new_folder_store_each_photo_once(tmp_path: Path) -> None:
    stores = [PixelStore(tmp_path / "store", (2, 3)) for _ in range(2)]
    for key, image in zip(KEYS, IMAGES, strict=True):
        for store in stores:
            store.add(key, image, 1, 1)
    for store in stores:
        assert len(store.pixels()) == 5
        assert_holds(store, [0, 1, 2, 3, 4])


def test_a_store_that_earlier_folders_filled_is_removed(tmp_path: Path) -> None:
    def used(*numbers: int) -> PixelStore:
        store = PixelStore(tmp_path / "store", (100_000,))
        for number in numbers:
            store.add(KEYS[number], np.full(100_000, number, np.uint8), 1, 1)
        return store

    used(0, 1, 2).remove_if_too_large(250_000)
    assert (tmp_path / "store").exists(), "all its images are in use"
    store = used(3)
    store.remove_if_too_large(250_000)
    assert not (tmp_path / "store").exists()
    assert (store.pixels()[store.rows[KEYS[3]]] == 3).all()
    used(4).remove_if_too_large(250_000)
    assert len(PixelStore(tmp_path / "store", (100_000,)).pixels()) == 0
    assert (tmp_path / "store").exists()


def test_stores_can_be_opened_while_others_are_removed(tmp_path: Path) -> None:
    def work(number: int) -> int:
        for round_ in range(30):
            store = PixelStore(tmp_path / f"kind-{(number + round_) % 3}", (5_000,))
            store.add(KEYS[0], np.zeros(5_000, np.uint8), 1, 1)
            trim(tmp_path, 6_000)
        return number

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == list(range(6))


def test_a_folder_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos = write_photos(tmp_path / "photos", 6)
    (photos / "rock" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    recipe = RECIPES["cnn"].replace(image_size=24)
    first = load_dataset(recipe, photos, tmp_path)
    decoded: list[str] = []

    def counting(content: bytes, name: str, **options: Any) -> Image.Image:
        decoded.append(name)
        return decode(content, name, **options)

    monkeypatch.setattr("chifoumi_jax.data.folder.decoding.decode", counting)
    second = load_dataset(recipe, photos, tmp_path)
    assert decoded == ["rock/broken.png"], "only bad files are decoded again"
    assert first.scan == second.scan
    assert [problem.paths for problem in second.scan.problems] == [("rock/broken.png",)]
    np.testing.assert_array_equal(first.pixels[first.train.rows], second.pixels[second.train.rows])
    decoded.clear()
    for other in (recipe.replace(image_size=25), recipe.replace(upright=False)):
        load_dataset(other, photos, tmp_path)
    assert len(decoded) == 2 * 19


def test_without_a_cache_the_runs_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    photos = write_photos(tmp_path / "photos", 6)
    (tmp_path / "runs").mkdir()
    data = load_dataset(RECIPES["cnn"].replace(image_size=24), photos, tmp_path / "runs")
    assert data.pixels.shape == (18, 24, 24, 3)
    assert not list((tmp_path / "runs").iterdir())
