"""Training on several devices: simulated devices of one process, and devices of two processes."""

import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from chifoumi_jax import fit, load, recipes
from chifoumi_jax.prediction.classifier import Classifier
from tests.commands import (
    QUICK,
    WITHOUT_PICTURES,
    chifoumi,
    devices,
    run_module,
    start_chifoumi,
    start_code,
)

TRAIN_ON_THREE_DEVICES = f"""
{WITHOUT_PICTURES}
import sys
import jax
from chifoumi_jax import fit, recipes
assert jax.device_count() == 3
for name, size in (("cnn", {{"image_size": 24}}), ("study-mlp", {{}})):
    recipe = recipes.RECIPES[name].replace(data=sys.argv[1], runs=sys.argv[2], epochs=2, **size)
    print(fit(recipe, quiet=True).directory)
"""


def test_three_devices_train_like_one(photos: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_ON_THREE_DEVICES, photos, tmp_path / "three"],
        capture_output=True,
        text=True,
        env=devices(3),
    )
    assert done.returncode == 0, done.stderr
    # Measured: rounding 2e-9 and 5e-11; one image replaced by another 3e-4 and 3e-6.
    bounds = {"cnn": 1e-6, "study-mlp": 1e-8}
    for directory, (name, bound) in zip(done.stdout.split(), bounds.items(), strict=True):
        recipe = recipes.RECIPES[name].replace(data=photos, runs=tmp_path / "one", epochs=2)
        one = fit(recipe.replace(**({"image_size": 24} if name == "cnn" else {})), quiet=True)
        assert distance(load(directory), load(one.directory)) < bound


def distance(left: Classifier, right: Classifier) -> float:
    """Root mean square difference of all weights.

    Sums of float32 in another order have other rounding errors. If a gradient consists of rounding
    only, Adam still takes a full step, so that a few weights differ much. A lost image changes all
    weights.
    """
    pairs = zip(*map(jax.tree.leaves, (left.weights, right.weights)), strict=True)
    differences = [np.ravel(np.asarray(one, np.float64) - other) for one, other in pairs]
    return float(np.sqrt(np.mean(np.square(np.concatenate(differences)))))


def start_two(*arguments: str | Path) -> list[tuple[int, str, str]]:
    """Run two processes of one training to their end: exit code, output and errors of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process")
    both = [
        start_chifoumi("train", *arguments, *options, str(number), setup=WITHOUT_PICTURES)
        for number in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in both]
    codes = [process.wait(timeout=300) for process in both]
    return [(code, *texts) for code, texts in zip(codes, outputs, strict=True)]


def test_two_processes_train_like_one(photos: Path, tmp_path: Path) -> None:
    recipe = recipes.study_cnn.replace(data=photos, runs=tmp_path / "one", image_size=24)
    one = fit(recipe.replace(epochs=3, batch_size=7, learning_rate=2e-3), quiet=True)

    options = ("--recipe", "study-cnn", "--data", photos, "--batch-size", "7", *QUICK)
    first, second = start_two(*options, "--epochs", "2", "--runs", tmp_path / "two")
    assert first[0] == second[0] == 0, first[2] + second[2]
    # The library that connects the processes prints a line before it.
    run = Path(first[1].splitlines()[-1])
    assert run == tmp_path / "two" / "study-cnn-1"
    assert str(tmp_path) not in second[1] + second[2], "one process prints"
    assert [path.name for path in run.parent.iterdir()] == [run.name], "one process writes"

    first, second = start_two("--resume", run, "--epochs", "3")
    assert first[0] == second[0] == 0, first[2] + second[2]
    both, single = load(run), load(one.directory)
    # Measured: rounding up to 4e-6, one image replaced by another 4e-3.
    assert distance(both, single) < 1e-4


INITIAL_STATE = """
import sys
import jax, numpy as np
data, out, port, processes, process = sys.argv[1:]
if int(processes) > 1:
    jax.distributed.initialize(f"127.0.0.1:{port}", int(processes), int(process))
from pathlib import Path
from chifoumi_jax import backbones, recipes
from chifoumi_jax.data.dataset import load_dataset
from chifoumi_jax.training.display import Display
from chifoumi_jax.training.trainer import Trainer
# Two of its five stages compile in less time.
backbones.BACKBONES["efficientnet-lite0-small"] = backbones.efficientnet_lite0(stages=2)
recipe = recipes.small.replace(data=data, image_size=32, hands=0)
photos = load_dataset(recipe, recipe.data, Path(out).parent)
state = Trainer(recipe, photos, Display(quiet=True)).initial_state()
np.savez(out, *map(np.asarray, jax.tree.leaves((state.weights, state.params))))
"""


def test_two_processes_have_the_same_initial_state_as_one_with_pretrained_weights(
    photos: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for processes, process in ((1, 0), (2, 0), (2, 1)):
        out = tmp_path / f"{processes}-{process}.npz"
        words = map(str, (photos, out, port, processes, process))
        started.append(start_code(INITIAL_STATE, *words))
    errors = [each.communicate(timeout=300)[1] for each in started]
    assert [each.returncode for each in started] == [0, 0, 0], "".join(errors)
    alone, *both = (np.load(tmp_path / f"{name}.npz") for name in ("1-0", "2-0", "2-1"))
    for found in both:
        assert found.files == alone.files
        for name in alone.files:
            # Measured: equal bit for bit. On other machines two devices may round the features
            # differently, on which the last layer is trained. The bound is that of the trainings
            # above.
            np.testing.assert_allclose(found[name], alone[name], atol=1e-4)


def test_the_three_options_of_processes_must_be_given_together(photos: Path) -> None:
    done = chifoumi("train", "--data", photos, "--coordinator", "127.0.0.1:1")
    assert done.returncode == 2
    assert "give --coordinator, --processes and --process together" in done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("nonsense", "1", "0"), "--coordinator must be HOST:PORT, not nonsense"),
        (("localhost:12397", "0", "0"), "--processes must be at least 1, not 0"),
        (("localhost:12397", "2", "2"), "--process must be from 0 to 1, not 2"),
    ],
)
def test_wrong_options_of_processes_are_an_error_of_one_sentence(
    given: tuple[str, ...], message: str
) -> None:
    coordinator, count, number = given
    options = ["--coordinator", coordinator, "--processes", count, "--process", number]
    done = run_module("chifoumi_jax.train", *options)
    assert done.returncode == 2 and done.stderr == f"error: {message}\n"
