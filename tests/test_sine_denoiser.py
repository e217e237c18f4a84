"""The recurrent denoisers: their curves, their original's command, and the pictures."""

import itertools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from chifoumi_jax import systems
from chifoumi_jax.systems import sine_denoiser
from reference import sine_denoiser as original

SYSTEM = systems.get("sine-denoiser")


def test_the_curves_are_sines_with_the_study_s_noise() -> None:
    noisy, clean = sine_denoiser.curves(10_000)
    # The study had drawn 200 numbers before.
    drawn = np.random.RandomState(0).uniform(-0.35, 0.35, 1_000_200)[200:].reshape(10_000, 100)
    np.testing.assert_allclose(noisy - clean, drawn, atol=2e-7)
    # Values 60 steps apart are equal, and 30 steps apart opposite.
    np.testing.assert_allclose(clean[:, 60:], clean[:, :40], atol=2e-6)
    np.testing.assert_allclose(clean[:, 30:], -clean[:, :70], atol=2e-6)
    # Offsets from 0 to 100 make 60 different curves; those from 0 to 40 come twice as often.
    offsets = np.rint(np.angle(clean[:, 15] + 1j * clean[:, 0]) * 60 / (2 * np.pi)) % 60
    assert len(set(offsets)) == 60
    assert np.mean(offsets <= 40) == pytest.approx(82 / 101, abs=0.02)
    # Leaving the noise in costs half of 0.35.
    assert np.abs(noisy - clean).mean() == pytest.approx(0.175, abs=5e-4)


def test_the_original_draws_the_same_curves() -> None:
    for ours, theirs in zip(sine_denoiser.curves(10_000), original.curves(0), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_each_variant_has_its_iterations_and_its_figure() -> None:
    found = {v: (SYSTEM.of(v).epochs, SYSTEM.of(v).figures[0].printed) for v in SYSTEM.variants}
    assert found == {"bigru": (201, "0.0339"), "rnn": (301, "0.0778"), "birnn": (301, "0.0444")}
    for variant, losses in sine_denoiser.STUDY_LOSSES.items():
        assert len(losses) == 1 + (found[variant][0] - 1) // 20
    assert {variant: epochs for variant, (epochs, _) in found.items()} == original.EPOCHS


def test_gradients_in_parts_are_those_of_all_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy, clean = (jnp.asarray(values[:6]) for values in sine_denoiser.curves(12))
    graph, state = SYSTEM.state(SYSTEM.build(rngs=nnx.Rngs(1)))
    found: list[Any] = []
    for chunk in (6, 2):
        monkeypatch.setattr(sine_denoiser, "_CHUNK", chunk)
        gradients = jax.jit(lambda batch: SYSTEM.gradients(graph, state, batch, ()))
        found.append(gradients({"noisy": noisy, "clean": clean}))
    # A sum of 600 float32 terms of one sign or of both; measured 2e-8.
    for whole, parts in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(parts, whole, atol=1e-6)


def test_the_original_prints_the_same_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sine_denoiser, "CURVES", (8, 4))
    monkeypatch.setattr(SYSTEM, "epochs_per_call", 2)
    weights = SYSTEM.to_original(SYSTEM.build(rngs=nnx.Rngs(5)))
    run = SYSTEM.fit(epochs=4, initial=weights, runs=tmp_path, quiet=True)
    data, given, history = SYSTEM.data(), tmp_path / "given.npz", tmp_path / "history.json"
    np.savez(
        given,
        orders=np.stack(list(itertools.islice(SYSTEM.orders(8, 0), 4))),
        **{f"weights/{name}": value for name, value in weights.items()},
        **{f"data/train/{name}": value for name, value in data.train.items()},
        **{f"data/test/{name}": value for name, value in data.test.items()},
    )
    original.main(["--given", str(given), "--history", str(history)])
    theirs = [row["loss"] for row in json.loads(history.read_text())]
    # Four updates in float32; measured 2e-6.
    np.testing.assert_allclose([row["loss"] for row in run.history], theirs, rtol=1e-5)
    ours = run.figures[0].ours
    assert f"test error: {ours:.4f}" in capsys.readouterr().out
    assert ours == run.history[-1]["test_loss"]
    assert {path.name for path in run.directory.glob("*.png")} == {"denoised.png", "loss.png"}
