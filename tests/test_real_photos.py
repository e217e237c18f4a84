"""Checks on real photos: run with CHIFOUMI_PHOTOS=DIR, a folder with train and test."""

from pathlib import Path

from chifoumi_jax import fit, recipes
from chifoumi_jax.data import scan


def test_the_scan_finds_photos_in_every_class(real_photos: Path) -> None:
    found = scan(real_photos)
    assert len(found.classes) >= 2
    assert all(counts["train"] and counts["test"] for counts in found.counts().values())


def test_a_small_network_learns_something(real_photos: Path, tmp_path: Path) -> None:
    recipe = recipes.cnn.replace(data=real_photos, runs=tmp_path, image_size=64, epochs=3)
    run = fit(recipe, quiet=True)
    # Above chance by more than a seed's spread; it reaches about twice that.
    assert run.results["train_accuracy"] > 1.2 / len(scan(real_photos).classes)
