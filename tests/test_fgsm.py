"""The attack on a LeNet: recordings of 2018, Foolbox, the study's counts, and the defence."""

import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jax import lax
from PIL import Image

from chifoumi_jax import systems
from chifoumi_jax.systems import attacks, datasets, fgsm
from chifoumi_jax.systems.convolution import convolve
from chifoumi_jax.systems.original import OriginalError, require_framework
from parity.precision import pinned
from reference import fgsm as original
from reference.legacy import systems_golden, systems_inputs

SYSTEM = systems.get("fgsm")
PICTURES, LABELS = systems_inputs.attacked_pictures()
IMAGES, LABELS = PICTURES[:, 0], LABELS.astype(np.int32)


def port(dtype: str = "float32") -> fgsm.LeNet:
    """The network with the weights of the recordings."""
    model = SYSTEM.build(rngs=nnx.Rngs(0))
    weights = systems_inputs.weights("fgsm")
    SYSTEM.load_original(model, {name: value.astype(dtype) for name, value in weights.items()})
    return model


def theirs(dtype: torch.dtype = torch.float32) -> original.LeNet:
    model = original.LeNet()
    weights = systems_inputs.weights("fgsm")
    model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return model.to(dtype).eval()


@nnx.jit
def attacked_once(model: fgsm.LeNet, images: Any, labels: Any) -> Any:
    gradient = fgsm.image_gradient(model)
    attacked = attacks.fgsm(gradient, images, labels, 0.3)
    return model(images), gradient(images, labels), attacked, model(attacked)


# Float32: sums of a few hundred terms; measured 1.5e-6. Float64: measured 4e-15.
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("float64", 1e-12)])
def test_outputs_gradients_and_attacks_are_those_that_pytorch_1_0_computed(
    dtype: str, bound: float
) -> None:
    recording = systems_golden.load("fgsm").under(f"{dtype}/")
    with pinned(dtype):
        found = attacked_once(port(dtype), jnp.asarray(IMAGES.astype(dtype)), jnp.asarray(LABELS))
        output, gradient, attacked, after = (np.asarray(value) for value in found)
    recorded = recording["gradient"][:, 0]
    np.testing.assert_allclose(output, recording["output"], rtol=0, atol=bound)
    np.testing.assert_allclose(gradient, recorded, rtol=0, atol=bound)
    # The one with a bright pixel and the black one have ties in nearly all windows.
    flipped = np.sign(gradient) != np.sign(recorded)
    # A gradient that is only rounding may have either sign; in these recordings none differs.
    assert np.abs(recorded[flipped]).max(initial=0) < bound and flipped.mean() < 1e-3
    expected = recording["attacked"][:, 0]
    np.testing.assert_allclose(attacked[~flipped], expected[~flipped], rtol=0, atol=1e-6)
    if not flipped.any():
        np.testing.assert_allclose(after, recording["output after"], rtol=0, atol=10 * bound)


def test_the_attacks_are_foolbox_s() -> None:
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        # It imports SciPy by an old name, and warns if no git is installed.
        warnings.simplefilter("ignore", DeprecationWarning)
        patch.setenv("GIT_PYTHON_REFRESH", "quiet")
        import foolbox
    model = theirs(torch.float64)

    class Channels(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return model(images[:, 0])

    attacked = foolbox.PyTorchModel(Channels().eval(), bounds=(0, 1), device="cpu")
    images = torch.tensor(PICTURES.astype(np.float64))
    labels = torch.tensor(LABELS.astype(np.int64))
    one = foolbox.attacks.LinfFastGradientAttack()
    many = foolbox.attacks.LinfProjectedGradientDescentAttack(
        abs_stepsize=0.05, steps=8, random_start=False
    )
    expected = [attack(attacked, images, labels, epsilons=[0.3])[1][0] for attack in (one, many)]
    with pinned("float64"):
        gradient = fgsm.image_gradient(port("float64"))
        given, truth = jnp.asarray(IMAGES.astype("float64")), jnp.asarray(LABELS)
        ours = (
            attacks.fgsm(gradient, given, truth, 0.3),
            attacks.pgd(gradient, given, truth, 0 * given, epsilon=0.3, step=0.05, steps=8),
        )
        for found, attack in zip(ours, expected, strict=True):
            np.testing.assert_allclose(found, attack[:, 0].numpy(), rtol=0, atol=1e-12)


def test_pgd_starts_where_it_is_told_and_stays_near_the_image() -> None:
    images = jnp.asarray([[[0.0, 0.5, 1.0, 0.9]]])
    start = jnp.asarray([[[0.2, -0.3, 0.5, 0.0]]])
    labels = jnp.zeros(1, jnp.int32)

    def pgd(steps: int, slope: float) -> np.ndarray:
        def gradient(images: Any, labels: Any) -> Any:
            return jnp.full_like(images, slope)

        found = attacks.pgd(gradient, images, labels, start, epsilon=0.3, step=0.1, steps=steps)
        return np.asarray(found)[0, 0]

    np.testing.assert_allclose(pgd(0, 1.0), [0.2, 0.2, 1.0, 0.9], atol=1e-6)
    np.testing.assert_allclose(pgd(3, 0.0), [0.2, 0.2, 1.0, 0.9], atol=1e-6)
    np.testing.assert_allclose(pgd(2, -5.0), [0.0, 0.2, 0.8, 0.7], atol=1e-6)
    np.testing.assert_allclose(pgd(9, 1e-9), [0.3, 0.8, 1.0, 1.0], atol=1e-6)


def test_an_image_counts_only_if_no_restart_changes_it() -> None:
    attacked, shapes = [], []

    def right(images: Any, labels: Any, start: Any) -> Any:
        attacked.append({int(value) for value in labels})
        shapes.append(images.shape)
        return jnp.asarray(labels % 7 != start[:, 0, 0].astype(int))

    images = np.zeros((10, 28, 28), np.float32)
    starts = (np.full_like(images, restart) for restart in (1, 2, 3))
    left = attacks.right_after_all(right, images, np.arange(10), starts, batch_size=4)
    assert left.tolist() == [0, 4, 5, 6, 7]
    assert set.union(*attacked[:3]) == set(range(10))
    assert set.union(*attacked[3:5]) == set(range(10)) - {1, 8}
    assert set.union(*attacked[5:]) == set(range(10)) - {1, 8, 2, 9}
    # Only one size is compiled.
    assert set(shapes) == {(4, 28, 28)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_convolution_s_gradients_are_those_of_lax(dtype: str) -> None:
    rng = np.random.default_rng(2)

    def plain(images: Any, kernel: Any) -> Any:
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            images, kernel, (1, 1), "VALID", dimension_numbers=numbers, precision="highest"
        )

    with pinned(dtype):
        images, kernel, weight = (
            jnp.asarray(rng.standard_normal(shape).astype(dtype))
            for shape in ((3, 9, 8, 2), (4, 3, 2, 5), (3, 6, 6, 5))
        )
        found, expected = (
            jax.grad(lambda *x, f=f: (f(*x) * weight).sum(), (0, 1))(images, kernel)
            for f in (convolve, plain)
        )
        for ours, lax_s in zip(found, expected, strict=True):
            # Sums of about a hundred terms of order one.
            bound = 1e-4 if dtype == "float32" else 1e-12
            np.testing.assert_allclose(ours, lax_s, rtol=0, atol=bound)


def test_the_counts_are_those_of_the_study_s_loop() -> None:
    digits = datasets._drawn(200, 24)
    images = digits.test_images / np.float32(255)
    labels = digits.test_labels.astype(np.int32)
    model, torch_model = port(), theirs()
    # Labels that this untrained network gives to most images, so that the attack changes answers.
    truth = np.where(labels < 8, np.asarray(fgsm.predict(model, jnp.asarray(images))), labels)
    truth = truth.astype(np.int32)
    ours = fgsm.count_right(model, images, truth, original.EPSILONS)
    counts = [
        original.test(torch_model, torch.tensor(images), torch.tensor(truth), epsilon)
        for epsilon in original.EPSILONS
    ]
    assert ours == counts
    assert counts[0] > counts[2] > 0 and counts[0] < 24


def test_the_original_trains_and_prints_the_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = datasets._drawn(200, 24)
    arrays: dict[str, Any] = {
        "data/train/images": digits.train_images / np.float32(255),
        "data/train/labels": digits.train_labels.astype(np.int32),
        "data/test/images": digits.test_images / np.float32(255),
        "data/test/labels": digits.test_labels.astype(np.int32),
    }
    weights = systems_inputs.weights("fgsm")
    arrays |= {f"weights/{name}": value for name, value in weights.items()}
    np.savez(tmp_path / "given.npz", allow_pickle=False, **arrays)
    original.main(["--given", str(tmp_path / "given.npz"), "--epochs", "2"])
    *epochs, last = capsys.readouterr().out.splitlines()
    assert epochs[1].startswith("epoch 2 loss ") and "accuracy 0." in epochs[1]
    assert last.startswith("epsilon 0.3: ") and last.endswith(" of 24 right")


def test_a_defence_has_no_original() -> None:
    require_framework(SYSTEM)
    with pytest.raises(OriginalError, match=r"fgsm-defended has no original.*without --variant"):
        require_framework(SYSTEM.of("defended"))


def test_a_defence_learns_attacked_images_and_has_no_gradient_through_the_attack() -> None:
    system = SYSTEM.of("defended")
    model = port()
    batch = {"images": jnp.asarray(IMAGES), "labels": jnp.asarray(LABELS)}
    noise = system.draw(jax.random.key(3), len(IMAGES))
    assert float(jnp.abs(noise["start"]).max()) <= 1 and float(noise["start"].min()) < -0.9
    attacked = attacks.pgd(
        fgsm.image_gradient(model),
        batch["images"],
        batch["labels"],
        0.3 * noise["start"],
        epsilon=0.3,
        step=fgsm.TRAINING_STEP,
        steps=fgsm.TRAINING_STEPS,
    )
    assert float(jnp.abs(attacked - batch["images"]).max()) <= 0.3 + 1e-6
    graph, state = system.state(model)
    found, _ = system.gradients(graph, state, batch, noise)

    def loss(params: Any) -> Any:
        return fgsm.losses(nnx.merge(graph, params, {})(attacked), batch["labels"]).mean()

    expected = jax.grad(loss)(state.params)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    rates = [float(system.rate(jnp.int32(step))) for step in (0, 2_400, 6_000, 9_999)]
    np.testing.assert_allclose(rates, [0, 3e-3, 3e-5, 3e-5], rtol=1e-6)


def test_a_run_leaves_its_pictures_and_the_seven_accuracies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "DRAWN", (200, 24))
    run = SYSTEM.fit(epochs=1, runs=tmp_path, quiet=True)
    assert {path.stem for path in run.directory.glob("*.png")} == {
        "accuracy",
        "examples",
        "training",
    }
    with Image.open(run.directory / "examples.png") as picture:
        assert picture.size[1] == 7 * 156
    assert [one.study.printed for one in run.figures][::3] == ["0.981", "0.683", "0.087"]
    assert run.figures[0].ours == run.history[-1]["accuracy"]
    assert run.figures[-1].ours == run.history[-1]["attacked"]
