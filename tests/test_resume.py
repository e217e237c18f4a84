"""Runs that are killed, interrupted or damaged, and then resumed, in processes of their own."""

import signal
import time
from pathlib import Path

import pytest

from chifoumi_jax import fit, recipes, resume
from chifoumi_jax.training import checkpoint
from chifoumi_jax.training.run import Run
from tests.commands import WITHOUT_PICTURES, Running, chifoumi, start_chifoumi
from tests.runs import assert_same_training

EPOCHS = 10
SETTINGS = {"image_size": 24, "batch_size": 8, "epochs": EPOCHS}
# A process that trains like a user's, but saves every epoch. It hangs at the checkpoint of a given
# step, either after or during its writing, so that it can be killed at that point.
HANGING = """
import time
from chifoumi_jax.training import checkpoint, saving

saving._SAVE_SHARE = float("inf")
save = checkpoint.save

def save_and_hang(directory, step, trees, progress):
    hangs = HANGING_STEP == step
    if hangs and WHEN == "during":
        def hang(path, value):
            print("hanging", flush=True)
            time.sleep(600)
        checkpoint.write_json = hang
    path = save(directory, step, trees, progress)
    if hangs and WHEN == "after":
        print("hanging", flush=True)
        time.sleep(600)
    return path

checkpoint.save = save_and_hang
"""


@pytest.fixture(scope="module")
def uninterrupted(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Ten epochs without an interruption."""
    runs = tmp_path_factory.mktemp("uninterrupted")
    return fit(recipes.cnn.replace(data=photos, runs=runs, **SETTINGS), quiet=True)


def start(photos: Path, runs: Path, step: int, when: str) -> Running:
    """Start a training that hangs "after" or "during" the checkpoint of a step."""
    arguments = ["--data", str(photos), "--runs", str(runs), "--quiet"]
    for name, value in SETTINGS.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    setup = f"HANGING_STEP, WHEN = {step}, {when!r}\n{HANGING}{WITHOUT_PICTURES}"
    return start_chifoumi("train", *arguments, setup=setup)


def kill_when_hanging(process: Running) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != "hanging\n":
        pytest.fail(f"the training ended early: {line}{process.communicate()[1]}")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("when", ["after", "during"])
def test_a_run_killed_at_epoch_4_can_be_resumed(
    uninterrupted: Run, photos: Path, tmp_path: Path, when: str
) -> None:
    # 42 images in batches of 8 make 6 steps per epoch.
    kill_when_hanging(start(photos, tmp_path, 24, when))
    (directory,) = tmp_path.iterdir()
    newest, _ = checkpoint.newest(directory / "checkpoints")
    assert newest == (24 if when == "after" else 18)
    assert not (directory / "results.json").exists()
    done = chifoumi("train", "--resume", directory, "--quiet", setup=WITHOUT_PICTURES)
    assert done.returncode == 0, done.stderr
    from chifoumi_jax.training.run import read

    assert_same_training(uninterrupted, read(directory))


def test_a_damaged_newest_checkpoint_is_skipped(
    uninterrupted: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kill_when_hanging(start(photos, tmp_path, 24, "after"))
    (directory,) = tmp_path.iterdir()
    progress = directory / "checkpoints" / "00000024" / "progress.json"
    progress.write_text(progress.read_text().replace("1", "2", 1))
    run = resume(directory, quiet=True)
    assert "Skipped a damaged checkpoint" in capsys.readouterr().err
    assert_same_training(uninterrupted, run)


def test_ctrl_c_saves_and_prints_how_to_resume(
    uninterrupted: Run, photos: Path, tmp_path: Path
) -> None:
    process = start(photos, tmp_path, -1, "never")
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/checkpoints/*/manifest.json")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    (directory,) = tmp_path.iterdir()
    if process.returncode == 0:
        pytest.fail("the training ended before the signal reached it")
    assert process.returncode == 130
    assert f"chifoumi train --resume {directory}" in errors
    assert "Traceback" not in errors
    assert_same_training(uninterrupted, resume(directory, quiet=True))


@pytest.mark.parametrize(
    ("limit", "size", "message"),
    [
        (300_000, "60", "decoded photos could not be kept"),
        # The pixels of 54 images of 100 x 100 pixels take 1.6 MB, the optimiser's state 3.3 MB.
        (2_000_000, "100", "step 6 could not be saved"),
    ],
)
def test_a_full_disk_is_an_error(
    photos: Path, tmp_path: Path, limit: int, size: str, message: str
) -> None:
    # No file may become larger than the limit, and no compiled program is kept.
    setup = f"""
import resource, signal
import jax
jax.config.update("jax_compilation_cache_dir", "")
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
"""
    done = chifoumi(
        *("train", "--data", photos, "--runs", tmp_path, "--image-size", size, "--epochs", "1"),
        setup=setup,
    )
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*/checkpoints/*"))
