"""The dense autoencoders: their original's command, the study's curves, and the pictures."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from chifoumi_jax import systems
from chifoumi_jax.systems import datasets, dense_autoencoder_curves
from reference import dense_autoencoder as original

SYSTEM = systems.get("dense-autoencoder")


def test_each_variant_has_its_figures_and_its_code() -> None:
    figures = {v: [f.printed for f in SYSTEM.of(v).figures] for v in SYSTEM.variants}
    assert figures == {"2": ["57.9"], "1": ["61.5", "63.6"], "3": ["62.5"]}
    images = jnp.zeros((2, 28, 28))
    for variant, width in (("2", 32), ("1", 20), ("3", 32)):
        model = SYSTEM.build(variant, rngs=nnx.Rngs(0))
        assert model.encode(images).shape == (2, width)
        assert model(images).shape == images.shape


def test_the_study_s_curves_are_whole() -> None:
    curves = dense_autoencoder_curves
    ends = {name: values[-1] for name, values in vars(curves).items() if name.isupper()}
    assert ends == {"TRAIN_1": 61.5, "TEST_1": 63.6, "TRAIN_4": 56.8, "TEST_4": 58.2}
    for name in ends:
        values = vars(curves)[name]
        assert len(values) == 200
        # A value in the wrong place, or without its point, would leave the curve.
        # The largest true change after the tenth epoch is 1.2.
        assert np.abs(np.diff(values)[10:]).max() < 1.25


@pytest.mark.parametrize("variant", ["1", "3"])
def test_the_original_prints_the_same_losses(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "DRAWN", (200, 24))
    system, given = SYSTEM.of(variant), tmp_path / "given.npz"
    weights = system.to_original(system.build(rngs=nnx.Rngs(5)))
    data = system.data()
    orders = [order for order, _ in zip(system.orders(200, 3), range(2), strict=False)]
    np.savez(
        given,
        orders=np.stack(orders),
        **{f"weights/{name}": value for name, value in weights.items()},
        **{"data/train/images": data.train["images"], "data/test/images": data.test["images"]},
    )
    history = tmp_path / "history.json"
    original.main(["--given", str(given), "--variant", variant, "--history", str(history)])
    theirs = json.loads(history.read_text())
    ours = system.fit(epochs=2, seed=3, initial=weights, runs=tmp_path, quiet=True).history
    for column in ("loss", "test_loss"):
        # Four updates in float32; measured 1e-6.
        np.testing.assert_allclose(
            [row[column] for row in ours], [row[column] for row in theirs], rtol=1e-5
        )


def test_a_run_leaves_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "DRAWN", (200, 24))
    run = SYSTEM.fit(epochs=1, runs=tmp_path, quiet=True)
    sizes = {}
    for path in run.directory.glob("*.png"):
        with Image.open(path) as picture:
            sizes[path.stem] = picture.size
    # Images of 28 pixels with a border, three times as large.
    assert sizes.pop("loss")[0] > 500
    assert sizes == {"reconstructions": (10 * 90, 2 * 90), "samples": (8 * 90, 8 * 90)}
    assert run.figures[0].ours == run.history[-1]["test_loss"]
