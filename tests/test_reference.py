import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chifoumi_jax.data import load_pixels
from chifoumi_jax.data.order import Order
from chifoumi_jax.training.step import scale_torch
from reference import order, photos
from tests.commands import environment, run_module
from tests.conftest import write_photos


def test_batch_sizes_follow_the_order_of_the_study() -> None:
    shown = order.batches(294, 25, np.random.default_rng(0).permutation)
    sizes = [len(next(shown)) for _ in range(110)]
    epochs = [sum(sizes[start : start + 11]) for start in range(0, 110, 11)]
    assert epochs == [275] + [269] * 9
    ours = Order(294, 25, 10, seed=0, kind="keras")
    assert sizes == [int((ours[step] >= 0).sum()) for step in range(110)]


def test_printed_metric_counts_the_mean_as_one_more_value() -> None:
    assert order.printed_metric([1.0, 0.0], [25, 25]) == pytest.approx(0.5)
    assert order.printed_metric([1.0, 0.0], [30, 10]) == pytest.approx((1 + 0.75) / 3)


@pytest.mark.parametrize("size", [(37, 61), (200, 90), (64, 64)])
def test_loaders_agree_with_the_library(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(photos.keras_pixels(path, 48), load_pixels(path, 48))
    np.testing.assert_array_equal(photos.torch_pixels(path, 32), load_pixels(path, 32, "torch"))
    assert (photos.torch_pixels(path, 32, stock=True) != photos.torch_pixels(path, 32)).any()


def test_scale_torch_divides_under_jit() -> None:
    # XLA would replace the division by a multiplication, which differs in 126 of 256 values.
    import jax
    import jax.numpy as jnp

    every = np.arange(256, dtype=np.uint8)
    expected = every.astype(np.float32) / np.float32(255)
    for scale in (scale_torch, jax.jit(scale_torch)):
        np.testing.assert_array_equal(np.asarray(scale(jnp.asarray(every))), expected)


def _run_torch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_module("reference.torch_mlp", *arguments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, count in (("train", 9), ("test", 3)):
        write_photos(tmp_path / "data" / split, count)
    return tmp_path / "data"


def test_the_keras_original_trains(folder: Path) -> None:
    # A new process, not a fork, because TensorFlow does not survive a fork.
    command = [sys.executable, "-m", "reference.keras_cnn", "--data", str(folder)]
    command += ["--image-size", "32", "--epochs", "2"]
    variables = environment(TF_CPP_MIN_LOG_LEVEL="3")
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    _assert_trained(done.stdout)


def test_the_keras_original_trains_with_todays_loss_and_adam(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # In this process, because an import of TensorFlow takes ten seconds.
    from reference import keras_cnn

    keras_cnn.main(["--data", str(folder), "--image-size", "32", "--epochs", "2", "--stock"])
    _assert_trained(capsys.readouterr().out)


def _assert_trained(output: str) -> None:
    assert output.count("epoch ") == 2
    assert set(json.loads(output.splitlines()[-1])) == {"train_accuracy", "test_accuracy"}


@pytest.mark.parametrize("version", ["3", "2.1"])
def test_the_torch_original_trains(folder: Path, tmp_path: Path, version: str) -> None:
    saved = tmp_path / "weights.pt"
    done = _run_torch("--data", folder, "--version", version, "--epochs", "2", "--save", saved)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) == {"train_accuracy", "test_accuracy"}
    from chifoumi_jax.convert import from_torch

    from_torch(saved)


def test_photos_reread_in_each_epoch_train_the_same_network(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from reference import torch_mlp

    read: list[Path] = []
    original = photos.torch_pixels

    def recorded(path: Path, size: int, stock: bool) -> np.ndarray:
        read.append(path)
        return original(path, size, stock)

    monkeypatch.setattr(photos, "torch_pixels", recorded)
    weights = {}
    for options in ((), ("--reread",)):
        read.clear()
        saved = tmp_path / f"{len(options)}.pt"
        torch_mlp.main(["--data", str(folder), "--epochs", "2", "--save", str(saved), *options])
        weights[options] = torch.load(saved, weights_only=True), len(read)
    (once, reads), (reread, more_reads) = weights.values()
    assert all(bool((once[name] == reread[name]).all()) for name in once)
    assert (reads, more_reads) == (3 * (9 + 3), 3 * (9 + 3) + 2 * 3 * 9)


def test_a_folder_without_photos_gives_an_error(tmp_path: Path) -> None:
    done = _run_torch("--data", tmp_path)
    assert done.returncode == 2
    assert f"error: no photos in {tmp_path / 'train'}: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "must be at least 1"),
        (["--train-list", "absent.txt"], "error: absent.txt: No such file"),
        (["--save", "weights.h5"], "must end in .pt"),
        (["--save", "absent/weights.pt"], "there is no folder absent"),
    ],
)
def test_a_wrong_argument_is_rejected_before_training(
    arguments: list[str], message: str, folder: Path
) -> None:
    done = _run_torch("--data", folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "epoch " not in done.stdout


def test_a_photo_that_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    paths = sorted(path.relative_to(folder) for path in (folder / "train").glob("*/*"))
    (tmp_path / "list.txt").write_text("\n".join([*map(str, paths), "train/rock/absent.png"]))
    done = _run_torch("--data", folder, "--train-list", tmp_path / "list.txt")
    assert done.returncode == 2
    assert "absent.png cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "broken", [b"P6 8 8 2R5\n" + bytes(192), b"P6 99999 99999 255\n" + bytes(192)]
)
def test_a_photo_with_an_invalid_header_is_named(broken: bytes, folder: Path) -> None:
    # Pillow does not raise an `OSError` for these.
    (folder / "test" / "rock" / "strange.ppm").write_bytes(broken)
    done = _run_torch("--data", folder)
    assert done.returncode == 2
    assert "strange.ppm cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_list_that_is_not_utf8_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe")
    done = _run_torch("--data", folder, "--train-list", tmp_path / "list.txt")
    assert done.returncode == 2
    assert "list.txt is no text in UTF-8" in done.stderr
