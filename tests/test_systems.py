"""The study's small systems: their models, their trainings, and the study's figures."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from chifoumi_jax import systems
from chifoumi_jax.commands import reproduce as command
from chifoumi_jax.errors import RecipeError, UserError
from chifoumi_jax.systems import datasets, fgsm, loop, sine_denoiser, sine_recurrent
from chifoumi_jax.systems.original import OriginalError, train_original
from chifoumi_jax.systems.weights import WeightsError
from chifoumi_jax.training.progress import Stopped
from chifoumi_jax.training.run import RunError
from tests.commands import chifoumi

PARAMS = {
    "sine-denoiser-bigru": 6_001,
    "sine-denoiser-rnn": 1_021,
    "sine-denoiser-birnn": 2_041,
    "sine-recurrent": 48,
    "sine-dense": 46,
    "fgsm-study": 21_840,
    "fgsm-defended": 21_840,
    "fgsm-defended-wide": 65_558,
    "conv-autoencoder-denoiser": 1_758_657,
    "conv-autoencoder-plain": 1_758_657,
    "vae": 652_824,
    "dense-autoencoder-2": 752_080,
    "dense-autoencoder-1": 644_804,
    "dense-autoencoder-3": 920_528,
    "gan": 2_946_577,
}
EVERY = [
    systems.get(name).of(variant)
    for name in systems.small_names()
    for variant in systems.get(name).variants
]
# Variants train alike, so that `make parity` trains all but the first. It also trains the
# convolutional one, whose compilation without optimisation runs for minutes.
TRAINED = [
    pytest.param(
        system,
        id=system.label,
        marks=()
        if system.variant == system.variants[0] and system.name != "conv-autoencoder"
        else pytest.mark.long,
    )
    for system in EVERY
]


@pytest.fixture(autouse=True)
def few_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "DRAWN", (200, 24))
    monkeypatch.setattr(sine_denoiser, "CURVES", (16, 4))


def test_the_number_of_parameters_is_the_study_s() -> None:
    assert {system.label: system.params for system in EVERY} == PARAMS


@pytest.mark.parametrize("name", systems.small_names())
def test_a_system_has_its_name_in_every_room(name: str) -> None:
    module = name.replace("-", "_")
    root = Path(systems.__file__).parents[2]
    for room in ("reference", "parity/systems", "parity/originals", "parity/faults"):
        assert (root / room / f"{module}.py").is_file(), room
    assert (root / "docs/systems" / f"{name}.md").is_file()


def test_an_unknown_system_is_an_error_that_lists_all() -> None:
    with pytest.raises(systems.UnknownSystemError, match="choose one of sine-denoiser"):
        systems.get("vea")


@pytest.fixture(scope="module")
def drawn_with_seed_1() -> Any:
    """The two matrices that PyTorch draws with seed 1."""
    from reference import sine_recurrent as theirs

    return theirs.initial(1)


def test_the_recurrent_cell_gives_the_20_sums_that_the_study_printed(
    drawn_with_seed_1: Any, tmp_path: Path
) -> None:
    run = systems.get("sine-recurrent").fit(initial=drawn_with_seed_1, runs=tmp_path, quiet=True)
    sums = [run.history[epoch]["loss"] for epoch in range(0, 200, 10)]
    # 40,000 updates in float32; measured 2.4e-6.
    np.testing.assert_allclose(sums, sine_recurrent.PRINTED_SUMS, rtol=1e-5)
    assert [f"{one.ours:.4f}" for one in run.figures] == ["0.7783", "0.0586"]
    assert {path.name for path in run.directory.glob("*.png")} == {"loss.png", "prediction.png"}


@pytest.mark.parametrize("system", TRAINED)
def test_a_resumed_training_equals_another_bit_for_bit(
    system: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(system), "epochs_per_call", min(2, system.epochs_per_call))
    whole = system.fit(epochs=5, seed=3, runs=tmp_path, quiet=True)
    part = system.fit(epochs=2, seed=3, runs=tmp_path, quiet=True)
    rest = loop.resume(part.directory, epochs=5, quiet=True)
    losses = [[row["loss"] for row in run.history] for run in (whole, rest)]
    assert losses[0] == losses[1] and len(losses[0]) == 5
    for ours, theirs in zip(
        jax.tree.leaves(nnx.state(whole.model())),
        jax.tree.leaves(nnx.state(rest.model())),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


IMAGES = ((2, 28, 28),)


@pytest.mark.parametrize(
    ("name", "variant", "given", "returned"),
    [
        *(("sine-denoiser", one, ((2, 9, 1),), (2, 9, 1)) for one in ("rnn", "birnn", "bigru")),
        ("sine-recurrent", None, ((9,),), (9,)),
        ("sine-dense", None, ((2, 1),), (2, 1)),
        ("fgsm", None, IMAGES, (2, 10)),
        *(
            ("conv-autoencoder", one, ((2, 28, 28, 1),), (2, 28, 28, 1))
            for one in ("plain", "denoiser")
        ),
        ("vae", None, (*IMAGES, (2, 20)), ((2, 28, 28), (2, 20), (2, 20))),
        ("vae", None, IMAGES, ((2, 28, 28), (2, 20), (2, 20))),
        *(("dense-autoencoder", one, IMAGES, *IMAGES) for one in "123"),
    ],
)
def test_models_take_and_return_the_shapes_of_their_originals(
    name: str, variant: str | None, given: Any, returned: Any
) -> None:
    model = systems.get(name).build(variant=variant, rngs=nnx.Rngs(0))
    found = jax.eval_shape(model, *(jnp.zeros(shape) for shape in given))
    assert jax.tree.map(lambda one: one.shape, found) == returned
    assert {one.dtype for one in jax.tree.leaves(found)} == {jnp.dtype("float32")}


def test_a_gan_has_two_models_and_an_attack_has_functions() -> None:
    gan = systems.get("gan").build(rngs=nnx.Rngs(0))
    assert jax.eval_shape(gan.generator, jnp.zeros((2, 100))).shape == (2, 28, 28)
    assert jax.eval_shape(gan.discriminator, jnp.zeros((2, 28, 28))).shape == (2,)
    model = systems.get("fgsm").build(rngs=nnx.Rngs(0))
    images, labels = jnp.full((3, 28, 28), 0.5), jnp.arange(3)
    attacked = systems.fgsm.attack(model, images, labels, 0.25)
    assert set(np.unique(attacked)) <= {0.25, 0.5, 0.75}
    counts = systems.fgsm.count_right(model, np.asarray(images), np.asarray(labels), [0.0])
    # One answer for three equal images with three labels.
    assert counts == [int(fgsm.predict(model, images)[0] < 3)]


def test_ctrl_c_saves_the_epochs_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = systems.get("sine-dense")
    monkeypatch.setattr(type(system), "epochs_per_call", 1)
    save = loop._save

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        import os
        import signal

        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop, "_save", save_and_stop)
    with pytest.raises(Stopped) as stopped:
        system.fit(epochs=9, runs=tmp_path, quiet=True)
    monkeypatch.setattr(loop, "_save", save)
    assert len(loop.read(stopped.value.directory).history) == 1
    assert len(loop.resume(stopped.value.directory, quiet=True).history) == 9


@pytest.mark.parametrize("system", EVERY, ids=lambda system: system.label)
def test_weights_go_there_and_back_bit_for_bit(system: Any) -> None:
    first, second = (system.build(rngs=nnx.Rngs(seed)) for seed in (0, 1))
    weights = system.to_original(first)
    system.load_original(second, weights)
    for one, value in system.to_original(second).items():
        np.testing.assert_array_equal(value, weights[one])


def test_wrong_weights_are_refused_and_nothing_is_copied() -> None:
    system = systems.get("sine-recurrent")
    model = system.build(rngs=nnx.Rngs(0))
    before = system.to_original(model)
    wrong = {"w1": np.zeros((7, 6), "f4"), "w2": np.zeros((1, 6), "f4")}
    for weights, message in (
        ({"w1": wrong["w1"]}, "w2 is missing; expected w1, w2"),
        (wrong | {"b": wrong["w2"]}, "the name b is unknown; expected w1, w2"),
        (wrong, r"w2 is float32 \[1, 6\]; expected float32 \[6, 1\]"),
        (3, "not from a int"),
    ):
        with pytest.raises(WeightsError, match=message):
            system.load_original(model, weights)
        for name, value in system.to_original(model).items():
            np.testing.assert_array_equal(value, before[name])


def test_keras_order_shuffles_the_order_of_the_epoch_before() -> None:
    rng, order = np.random.RandomState(5), np.arange(63)
    for ours in itertools.islice(systems.get("sine-dense").orders(63, 5), 3):
        rng.shuffle(order)
        np.testing.assert_array_equal(ours, order)


def test_wrong_options_name_the_remedy(tmp_path: Path) -> None:
    system = systems.get("sine-dense")
    with pytest.raises(RecipeError, match="leave out --data"):
        system.fit(data="digits/", runs=tmp_path)
    with pytest.raises(RecipeError, match="has no variant wide; choose one of default"):
        system.fit(variant="wide", runs=tmp_path)
    with pytest.raises(RecipeError, match="--epochs must be at least 1, not 0"):
        system.fit(epochs=0, runs=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_is_not_resumed_to_fewer_epochs(tmp_path: Path) -> None:
    run = systems.get("sine-dense").fit(epochs=2, runs=tmp_path, quiet=True)
    with pytest.raises(RecipeError, match="has 2 epochs already"):
        loop.resume(run.directory, epochs=1)
    assert len(loop.resume(run.directory, quiet=True).history) == 2


def test_a_damaged_checkpoint_is_named_and_an_earlier_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system = systems.get("sine-dense")
    monkeypatch.setattr(type(system), "epochs_per_call", 1)
    run = system.fit(epochs=3, runs=tmp_path, quiet=True)
    newest = run.directory / "checkpoints" / f"{3 * 63:08d}"
    (newest / "progress.json").write_text("{}")
    again = loop.resume(run.directory, quiet=True)
    assert "Skipped a damaged checkpoint" in capsys.readouterr().err
    assert [row["loss"] for row in again.history] == [row["loss"] for row in run.history]


def test_ctrl_c_says_which_command_continues(tmp_path: Path) -> None:
    setup = (
        "import os, signal; from chifoumi_jax.systems import loop; save = loop._save\n"
        "def stop(*given):\n    save(*given); os.kill(os.getpid(), signal.SIGINT)\n"
        "loop._save = stop"
    )
    done = chifoumi("reproduce", "sine-dense", cwd=tmp_path, setup=setup)
    assert done.returncode == 130
    assert done.stderr.endswith("Continue: chifoumi reproduce --resume runs/sine-dense-1\n")


def test_a_changed_or_damaged_run_is_refused(tmp_path: Path) -> None:
    run = systems.get("sine-dense").fit(epochs=1, runs=tmp_path, quiet=True)
    config = json.loads((run.directory / loop.CONFIG).read_text())
    (run.directory / loop.CONFIG).write_text(json.dumps(config | {"examples": "0"}))
    with pytest.raises(RunError, match="have changed since it started"):
        loop.resume(run.directory)
    (run.directory / loop.CONFIG).write_text("[]")
    with pytest.raises(RunError, match="cannot be read"):
        loop.resume(run.directory)
    with pytest.raises(RunError, match="is not a system's run"):
        loop.resume(tmp_path)
    shutil.rmtree(run.directory / "checkpoints")
    (run.directory / loop.CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError, match="no intact checkpoint"):
        loop.resume(run.directory)


def test_the_command_lists_and_trains(tmp_path: Path) -> None:
    listed = chifoumi("reproduce", cwd=tmp_path)
    assert listed.returncode == 0
    assert all(name in listed.stdout for name in systems.names())
    done = chifoumi("reproduce", "sine-dense", "--epochs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "runs/sine-dense-1"
    assert "0.01 %" in done.stdout
    more = chifoumi("reproduce", "--resume", "runs/sine-dense-1", "--epochs", "3", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert len(loop.read(tmp_path / "runs/sine-dense-1").history) == 3
    wrong = chifoumi("reproduce", "vea", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: vea is no system; choose one of sine-denoiser, sine-")


def test_the_original_trains_on_the_same_examples_in_the_same_order(tmp_path: Path) -> None:
    run = systems.get("sine-recurrent").fit(epochs=3, seed=4, runs=tmp_path, quiet=True)
    theirs = train_original(run)
    # 600 updates in float32; measured 1e-7.
    np.testing.assert_allclose(
        [row["loss"] for row in run.history], [row["loss"] for row in theirs], rtol=1e-5
    )
    assert (run.directory / "original.png").is_file()


def test_an_original_needs_its_framework_and_the_run_s_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = systems.get("sine-recurrent")
    weights = system.to_original(system.build(rngs=nnx.Rngs(0)))
    run = system.fit(epochs=1, initial=weights, runs=tmp_path, quiet=True)
    with pytest.raises(OriginalError, match="began with weights that it did not keep"):
        train_original(run)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OriginalError, match="reference is not installed"):
        train_original(run)


def test_all_systems_are_reproduced_on_one_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [systems.get("sine-dense"), systems.get("vae")]
    monkeypatch.setattr(command, "_every", lambda: iter(chosen))
    monkeypatch.setattr(type(chosen[0]), "quick", (2, None))
    assert command.reproduce(all=True, quick=True, runs=tmp_path, quiet=True) == 0
    page = Path(capsys.readouterr().out.splitlines()[-1])
    text = page.read_text()
    assert "0.01 %" in text and "0.1338" in text
    assert text.count("data:image/png;base64,") == 1 + 4
    with pytest.raises(RecipeError, match="--all takes"):
        command.reproduce("vae", all=True)


def test_the_list_shows_how_long_a_whole_training_took(tmp_path: Path) -> None:
    assert loop.newest_seconds("sine-recurrent", tmp_path) is None
    systems.get("sine-recurrent").fit(epochs=1, runs=tmp_path, quiet=True)
    assert loop.newest_seconds("sine-recurrent", tmp_path) is None
    run = systems.get("sine-recurrent").fit(runs=tmp_path, quiet=True)
    expected = sum(row["seconds"] for row in run.history)
    assert loop.newest_seconds("sine-recurrent", tmp_path) == pytest.approx(expected)


def test_a_limit_keeps_the_first_examples() -> None:
    data = systems.get("vae").data()
    cut = data.first(50)
    assert len(cut) == 50 and len(cut.test["images"]) == 6
    np.testing.assert_array_equal(cut.train["images"], data.train["images"][:50])
    assert data.first(None) is data and data.first(1_000) is data


@pytest.mark.parametrize(("name", "params"), [("cnn", 21_856_483), ("mlp", 67_779)])
def test_the_photo_classifiers_are_systems_too(name: str, params: int) -> None:
    system = systems.get(name)
    assert system.params == params and system.label == name
    with pytest.raises(RecipeError, match="leave out --variant"):
        system.of("wide")
    with pytest.raises(RecipeError, match="neither initial weights nor a limit"):
        system.fit(limit=5)


def test_a_perceptron_takes_the_weights_of_its_original() -> None:
    from reference.torch_mlp import MLPv3 as Original

    system, theirs = systems.get("mlp"), Original()
    model = system.build(rngs=nnx.Rngs(0))
    system.load_original(model, theirs)
    np.testing.assert_array_equal(model.fc1.bias[...], theirs.fc1.bias.detach().numpy())
