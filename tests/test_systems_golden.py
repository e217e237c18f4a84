"""The recordings of the small systems on PyTorch 1.0.0 and Keras 2.2.4."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from chifoumi_jax.systems import sine_recurrent
from reference.legacy import systems_golden, systems_inputs

SYSTEMS = [system for systems in systems_golden.FILES.values() for system in systems]


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_has_finite_results_in_the_recorded_dtype(system: str) -> None:
    recording = systems_golden.load(system)
    assert recording.software["python"].startswith("3.6.")
    framework = "torch" if system in systems_golden.FILES["systems-torch-1.0.0"] else "keras"
    assert recording.software[framework] == {"torch": "1.0.0", "keras": "2.2.4"}[framework]
    assert recording.arrays
    for key, values in recording.arrays.items():
        assert np.isfinite(values).all(), key
        dtype = next((d for d in ("float32", "float64") if f"{d}/" in key), None)
        if "/masks/" in key or key.endswith("/counter"):
            assert values.dtype.kind in "iu", key
        elif key.endswith(("/fit/loss", "/evaluate")):
            # Keras averages the losses of batches in float64.
            assert values.dtype == "float64", key
        elif dtype is not None:
            assert values.dtype == dtype, key


def test_the_files_are_small() -> None:
    sizes = [path.stat().st_size for path in systems_golden.FOLDER.glob("systems-*")]
    assert len(sizes) == 4
    assert sum(sizes) < 2e6


def test_the_sums_of_the_recurrent_cell_are_those_that_the_study_printed() -> None:
    recording = systems_golden.load("sine-recurrent")
    # The printed sums carry the rounding of 40,000 updates in float32: float64 is 3.2e-6 away.
    # Measured in float32: 3.5e-6; data or updates that are rounded otherwise give 1.7e-6 to 5e-6.
    for dtype in ("float32", "float64"):
        sums = recording[f"{dtype}/sums"]
        assert sums.shape == (200,)
        np.testing.assert_allclose(sums[::10], sine_recurrent.PRINTED_SUMS, rtol=4e-6)


PARAMS = {
    "sine-denoiser/rnn": 1_021,
    "sine-denoiser/birnn": 2_041,
    "sine-denoiser/bigru": 6_001,
    "vae": 652_824,
    "dense-autoencoder/1": 644_804,
    "dense-autoencoder/2": 752_080,
    "dense-autoencoder/3": 920_528,
    "fgsm": 21_840,
    "sine-dense": 46,
    "conv-autoencoder": 1_758_657,
    "gan/generator": 1_486_352,
    "gan/discriminator": 1_460_225,
}


def test_the_generated_weights_have_the_study_s_sizes() -> None:
    weights = {model: systems_inputs.weights(model) for model in PARAMS}
    assert {m: sum(value.size for value in w.values()) for m, w in weights.items()} == PARAMS


@pytest.mark.parametrize("model", [m for m in PARAMS if m not in ("fgsm", "sine-dense")])
def test_recorded_steps_start_from_the_generated_weights(model: str) -> None:
    system, _, part = model.partition("/")
    prefix = "float32/steps/weights/"
    if part:
        prefix = f"{prefix}{part}/" if system == "gan" else f"{part}/{prefix}"
    found = systems_golden.load(system).under(prefix)
    weights = systems_inputs.weights(model)
    assert set(found) == set(weights)
    for name, value in weights.items():
        start, after = systems_inputs.digest(name, value), found[name][0]
        assert start.shape == after.shape
        if "/moving_" in name:
            continue  # The first step replaces them, see below.
        # A step of Adam or RMSprop moves a weight by a hundredth at most, and a projection of 256
        # or more weights by a few hundredths. Other weights would be a tenth away.
        assert np.median(np.abs(after - start)) <= 0.0101, name


def test_batch_norm_has_corrected_its_variance_twice_and_forgotten_its_first_value() -> None:
    found = systems_golden.load("conv-autoencoder").under("float32/")
    side = (*(28,) * 2, *(14,) * 2, *(7,) * 8, *(14,) * 2)
    for i, pixels in enumerate(4 * height**2 for height in side):
        name = f"batch_normalization_{i + 1}"
        biased = found[f"variance/{name}"].astype(float)
        moving = found[f"steps/weights/{name}/moving_variance"][0]
        corrected = biased * pixels / (pixels - 1) * pixels / (pixels - 1.001)
        # Float32 rounding; 1 - 0.99 alone is off by 9.5e-7. One correction would be off by 3e-4.
        used = biased > 1e-2
        assert used.mean() > 0.5
        np.testing.assert_allclose(moving[: biased.size][used], corrected[used], rtol=1e-5)


def test_the_generated_inputs_give_the_recorded_outputs() -> None:
    x, y = (points.astype(float) for points in systems_inputs.sine_points())
    w = {k: v.astype(float) for k, v in systems_inputs.weights("sine-dense").items()}
    for i in (1, 2, 3):
        x = x @ w[f"dense_{i}/kernel"] + w[f"dense_{i}/bias"]
        x = np.tanh(x) if i < 3 else x
    recording = systems_golden.load("sine-dense")
    np.testing.assert_allclose(x, recording["float64/output"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(((x - y) ** 2).mean(), recording["float64/loss"], rtol=1e-14)

    pictures = systems_inputs.pictures("vae few", systems_inputs.FEW)
    images = systems_inputs.unit(pictures).reshape(-1, 784).astype(float)
    w = {k: v.astype(float) for k, v in systems_inputs.weights("vae").items()}
    hidden = np.maximum(images @ w["fc1.weight"].T + w["fc1.bias"], 0)
    for key, layer in (("mu", "fc21"), ("logvar", "fc22")):
        found = hidden @ w[f"{layer}.weight"].T + w[f"{layer}.bias"]
        recorded = systems_golden.load("vae")[f"float64/{key}"]
        np.testing.assert_allclose(found.reshape(-1), recorded, rtol=0, atol=1e-13)


def test_a_digest_shows_a_change_of_any_entry() -> None:
    values = np.random.RandomState(0).normal(size=(50, 40)).astype(np.float32)
    before = systems_inputs.digest("weight", values)
    assert before.shape == (71,) and before.dtype == np.float32
    values[31, 7] += 0.1
    projections = slice(systems_inputs.ENTRIES, -3)
    changes = np.abs(systems_inputs.digest("weight", values) - before)[projections]
    np.testing.assert_allclose(changes, 0.1 / np.sqrt(2000), rtol=1e-3)
    few = systems_inputs.digest("weight", values[:2, :3])
    np.testing.assert_array_equal(few, values[:2, :3].reshape(-1))


def test_what_is_absent_or_damaged_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(systems_golden.RecordingError, match="vea was not recorded; choose one of"):
        systems_golden.load("vea")
    recording = systems_golden.load("vae")
    with pytest.raises(systems_golden.RecordingError, match="no recording of float16/loss"):
        recording["float16/loss"]
    with pytest.raises(systems_golden.RecordingError, match="no recording begins with float16/"):
        recording.under("float16/")
    monkeypatch.setattr(systems_golden, "FOLDER", tmp_path)
    with pytest.raises(systems_golden.RecordingError, match="restore it from the repository"):
        systems_golden.load("vae")
    golden = Path(systems_golden.__file__).parent / "golden"
    for suffix in (".json", ".npz"):
        shutil.copy(golden / f"systems-torch-1.0.0{suffix}", tmp_path)
    with (tmp_path / "systems-torch-1.0.0.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(systems_golden.RecordingError, match="does not match the checksum"):
        systems_golden.load("vae")
