"""The cases that are compared, and the command of each baseline."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import operator
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.measure import (
    BaselineError,
    Case,
    Measurement,
    command,
    measure_in_turn,
    run,
    worker,
)
from benchmarks.systems import systems


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes and numbers of repetitions.

    Attributes:
        baselines_python: Interpreter with TensorFlow, Keras and PyTorch.
        rounds: Number of turns of each baseline.
        budget: Seconds of repetitions in a turn.
        min_repetitions: Least number of repetitions in a turn.
        batch_size: Images in a training step.
        image_size: Height and width in a training step and in predictions, in pixels.
        finetune: Batch size and image size of a fine-tuning step.
        depthwise: Batch size, image size and channels of one depthwise convolution.
        predict_sizes: Batch sizes of predictions.
        train_sizes: Image sizes of whole trainings, in pixels.
        epochs: Epochs of the CNN's whole trainings.
        mlp_epochs: Epochs of the MLP's training.
        precisions: Precisions that the case `precision` compares.
        photos: Number of large photos to decode.
        photo_size: Width and height of these photos, in pixels.
        scaling: Values of each quantity that the cost scales with.
        systems: Names of the study's small systems to measure.
        tiny: Whether the small systems are trained for one epoch on few digits.
        data: Folder of photos for whole trainings.
        log: Called with a line for each measurement.
    """

    baselines_python: str
    rounds: int
    budget: float
    min_repetitions: int
    batch_size: int
    image_size: int
    finetune: tuple[int, int]
    depthwise: tuple[int, int, int]
    predict_sizes: Sequence[int]
    train_sizes: Sequence[int]
    epochs: int
    mlp_epochs: int
    precisions: Sequence[str]
    photos: int
    photo_size: tuple[int, int]
    scaling: Mapping[str, Sequence[int]]
    systems: Sequence[str]
    tiny: bool
    data: Path
    log: Callable[[str], None]


OURS = "chifoumi-jax"


def step(settings: Settings) -> Iterator[Case]:
    """One training step of the CNN."""
    size, batch = settings.image_size, settings.batch_size
    yield measure_in_turn(
        f"training step, {size} px, batch {batch}",
        "s",
        _frameworks(settings, "train", batch),
        settings.rounds,
        settings.log,
    )


def finetune(settings: Settings) -> Iterator[Case]:
    """A fine-tuning step of EfficientNet-Lite0, and the convolution that makes it slow in XLA."""
    batch, size = settings.finetune
    recipe, all_stages = (
        _finetune(settings, task, settings.finetune) for task in ("recipe", "all_stages")
    )
    for task, trained, ours in (
        ("recipe", "two stages frozen", {f"{OURS}, with augmentation and moving average": recipe}),
        ("all_stages", "every stage", {OURS: all_stages}),
    ):
        yield measure_in_turn(
            f"fine-tuning step, {trained}, {size} px, batch {batch}",
            "s",
            {**ours, **_finetune_by_torch(settings, task, settings.finetune)},
            settings.rounds,
            settings.log,
        )
    batch, size, channels = settings.depthwise
    yield measure_in_turn(
        f"depthwise convolution and its gradients, {batch} x {size} x {size} x {channels}",
        "s",
        {
            OURS: _finetune(settings, "depthwise", settings.depthwise),
            "XLA": _finetune(settings, "depthwise_by_xla", settings.depthwise),
            **_finetune_by_torch(settings, "depthwise", settings.depthwise),
        },
        settings.rounds,
        settings.log,
    )


def feeding(settings: Settings) -> Iterator[Case]:
    """Time of a step, and the part that goes into its images, from the second epoch on."""
    numbers = (settings.batch_size, settings.image_size, settings.budget, settings.min_repetitions)
    tasks = {
        "a whole step": ("chifoumi", "train"),
        "its images, all on the device": ("input_pipeline", "resident"),
        "its images, read ahead": ("input_pipeline", "streamed"),
    }
    yield measure_in_turn(
        f"images of a step, {settings.image_size} px, batch {settings.batch_size}",
        "s",
        {name: worker(sys.executable, (*task, *numbers), {}) for name, task in tasks.items()},
        settings.rounds,
        settings.log,
    )


def predict(settings: Settings) -> Iterator[Case]:
    """Predictions in images per second, from pixels to probabilities, both in host memory."""
    for batch in settings.predict_sizes:
        rate = functools.partial(operator.truediv, batch)
        yield measure_in_turn(
            f"prediction, {settings.image_size} px, batch {batch}",
            "images/s",
            _frameworks(settings, "predict", batch, rate)
            | {
                f"{name}, predict_on_batch": measure
                for name, measure in _frameworks(settings, "predict_on_batch", batch, rate).items()
                if name.startswith("Keras on TensorFlow")
            },
            settings.rounds,
            settings.log,
            more_is_better=True,
        )


def train(settings: Settings) -> Iterator[Case]:
    """Whole trainings, from the start of the process to the saved model."""
    _import_before(settings, "chifoumi_jax.training.fit", "reference.keras_cnn")
    for size in settings.train_sizes:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            shared = ("--data", settings.data, "--image-size", size, "--epochs", settings.epochs)
            ours = (sys.executable, "-m", "chifoumi_jax.train", "--recipe", "study-cnn", "--quiet")
            theirs = (settings.baselines_python, "-m", "reference.keras_cnn")
            saved = directory / "keras.weights.h5"
            yield measure_in_turn(
                f"whole training, {size} px, {settings.epochs} epochs",
                "s",
                {
                    **_cold_and_warm(_training((*ours, *shared)), directory),
                    "Keras on TensorFlow": command([*theirs, *shared, "--save", saved]),
                },
                settings.rounds,
                settings.log,
            )


def mlp(settings: Settings) -> Iterator[Case]:
    """Training of the MLP: the whole process, and only the epochs."""
    _import_before(settings, "chifoumi_jax.training.fit", "reference.torch_mlp")
    epochs = settings.mlp_epochs
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shared = ("--data", settings.data, "--epochs", epochs)
        ours = (sys.executable, "-m", "chifoumi_jax.train", "--recipe", "study-mlp", "--quiet")
        theirs = (settings.baselines_python, "-m", "reference.torch_mlp", *shared)
        yield measure_in_turn(
            f"whole training of the MLP, {epochs} epochs",
            "s",
            {
                **_cold_and_warm(_training((*ours, *shared)), directory),
                "PyTorch": command(theirs),
                "PyTorch, each photo read in each epoch, as in the study": command(
                    [*theirs, "--reread"]
                ),
            },
            settings.rounds,
            settings.log,
        )
    arguments = (settings.data.absolute(), epochs)
    yield measure_in_turn(
        f"the MLP's {epochs} epochs alone",
        "s",
        {
            OURS: worker(sys.executable, ("epochs_chifoumi", "mlp", *arguments, 0, 1), {}),
            "PyTorch": worker(
                settings.baselines_python, ("epochs_torch", "mlp", *arguments, 0, 1), {}
            ),
        },
        settings.rounds,
        settings.log,
    )


def decode(settings: Settings) -> Iterator[Case]:
    """Decoding in photos per second, from files to pixels of the network's size, on all cores."""
    width, height = settings.photo_size
    with tempfile.TemporaryDirectory() as name:
        write_photos(Path(name), settings.photos, settings.photo_size)
        arguments = (name, settings.image_size, settings.budget, settings.min_repetitions)

        def rate(seconds: float) -> float:
            return settings.photos / seconds

        yield measure_in_turn(
            f"decoding JPEGs of {width} x {height}",
            "photos/s",
            {
                f"{OURS}: checked, hashed, decoded, resized, kept": worker(
                    sys.executable, ("decoding", "first_epoch", *arguments), {}, rate
                ),
                "libjpeg-turbo: decoded": worker(
                    sys.executable, ("decoding", "libjpeg_turbo", *arguments), {}, rate
                ),
                f"{OURS}: kept by an earlier run": worker(
                    sys.executable, ("decoding", "cached", *arguments), {}, rate
                ),
            },
            settings.rounds,
            settings.log,
            more_is_better=True,
        )


def start(settings: Settings) -> Iterator[Case]:
    """Time from the command to the end of its first step, without the imports."""
    arguments = ("start", "first_step", settings.data.absolute(), settings.image_size, 0, 1)
    with tempfile.TemporaryDirectory() as name:

        def measure(environment: Mapping[str, str]) -> Measurement:
            return worker(sys.executable, arguments, environment)

        yield measure_in_turn(
            f"start to first step, {settings.image_size} px",
            "s",
            _cold_and_warm(measure, Path(name)),
            settings.rounds,
            settings.log,
        )


def precision(settings: Settings) -> Iterator[Case]:
    """A training step and the study's training in each precision, with the device's bounds.

    Meant for a GPU; on a CPU `tf32` is `float32`, and 16 bits are slow.
    """
    size, batch = settings.image_size, settings.batch_size
    numbers = (batch, size, settings.budget, settings.min_repetitions)
    names, data = settings.precisions, settings.data.absolute()
    for name in names:

        def measurement(
            task: str, name: str = name, convert: Callable[[float], float] = lambda s: s
        ) -> Measurement:
            return worker(sys.executable, ("precision", task, name, *numbers), {}, convert)

        baselines = {
            OURS: measurement("ours"),
            "XLA's own convolutions": measurement("xla"),
            "memory's bound": measurement("memory"),
            "arithmetic's bound": measurement("matmul"),
        }
        if name == "float32":
            # Cost of float32 accuracy on tensor cores, which have no float32.
            baselines["arithmetic's bound, TF32 three times"] = measurement(
                "matmul", "tf32", lambda s: 3 * s
            )
        yield measure_in_turn(
            f"training step in {name}, {size} px, batch {batch}",
            "s",
            baselines,
            settings.rounds,
            settings.log,
        )
    yield measure_in_turn(
        f"the CNN's {settings.epochs} epochs alone, {size} px",
        "s",
        {
            f"{OURS}, {name}": worker(
                sys.executable,
                ("epochs_chifoumi", "cnn", data, settings.epochs, size, name, settings.budget, 1),
                {},
            )
            for name in names
        },
        settings.rounds,
        settings.log,
    )


def scaling(settings: Settings) -> Iterator[Case]:
    """How the cost of this project scales with one quantity at a time."""

    def case(name: str, task: str, values: Sequence[int]) -> Case:
        def measure(value: int) -> Measurement:
            devices = value if task == "devices" else 1
            own = os.environ.get("XLA_FLAGS", "")
            flags = {"XLA_FLAGS": f"{own} --xla_force_host_platform_device_count={devices}"}
            arguments = ("scaling", task, value, settings.budget, settings.min_repetitions)
            return worker(sys.executable, arguments, flags)

        baselines = {str(value): measure(value) for value in values}
        return measure_in_turn(name, "s", baselines, settings.rounds, settings.log)

    names = {
        "images": "an epoch of the MLP, by images",
        "pixels": "a step of the CNN with 8 images, by pixels on a side",
        "classes": "a step of the CNN at 64 px, by classes",
        "devices": "a step of the CNN at 150 px, by simulated devices",
    }
    for task, values in settings.scaling.items():
        yield case(names[task], task, values)


CASES: dict[str, Callable[[Settings], Iterator[Case]]] = {
    "step": step,
    "finetune": finetune,
    "feeding": feeding,
    "predict": predict,
    "train": train,
    "mlp": mlp,
    "decode": decode,
    "start": start,
    "scaling": scaling,
    "precision": precision,
    "systems": systems,
}
# Cases that are measured by default; `precision` is for a GPU, and `systems` takes an hour.
DEFAULT = tuple(name for name in CASES if name not in ("precision", "systems"))
# Earlier names of cases, which are still accepted.
ALIASES = {"growth": "scaling"}


def _frameworks(
    settings: Settings,
    task: str,
    batch: int,
    convert: Callable[[float], float] = lambda seconds: seconds,
) -> dict[str, Measurement]:
    """Measurements of one task in every framework."""
    other_python = settings.baselines_python
    baselines: dict[str, tuple[str, str, Mapping[str, str]]] = {
        OURS: (sys.executable, "chifoumi", {}),
        "Keras on TensorFlow": (other_python, "keras", {"KERAS_BACKEND": "tensorflow"}),
        "PyTorch, channels last": (other_python, "torch", {"TORCH_FORMAT": "channels_last"}),
        "PyTorch, NCHW": (other_python, "torch", {"TORCH_FORMAT": "contiguous"}),
        "Keras on JAX": (other_python, "keras", {"KERAS_BACKEND": "jax"}),
        "plain JAX": (sys.executable, "plain_jax", {}),
    }
    numbers = (batch, settings.image_size, settings.budget, settings.min_repetitions)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return {
        name: worker(python, (module, task, *numbers), {**environment, **quiet}, convert)
        for name, (python, module, environment) in baselines.items()
    }


def _finetune(settings: Settings, task: str, sizes: Sequence[int]) -> Measurement:
    numbers = (*sizes, settings.budget, settings.min_repetitions)
    return worker(sys.executable, ("finetune_chifoumi", task, *numbers), {})


def _finetune_by_torch(
    settings: Settings, task: str, sizes: Sequence[int]
) -> dict[str, Measurement]:
    numbers = (*sizes, settings.budget, settings.min_repetitions)
    arguments = ("finetune_torch", task, *numbers)
    return {
        f"PyTorch, {name}": worker(settings.baselines_python, arguments, {"TORCH_FORMAT": layout})
        for name, layout in (("channels last", "channels_last"), ("NCHW", "contiguous"))
    }


def _import_before(settings: Settings, ours: str, theirs: str) -> None:
    """Import both modules once, so that no timed start compiles Python modules."""
    for python, module in ((sys.executable, ours), (settings.baselines_python, theirs)):
        # A failed import is reported when the baseline is measured.
        with contextlib.suppress(BaselineError):
            run([python, "-c", f"import {module}"])


def _cold_and_warm(
    measure: Callable[[Mapping[str, str]], Measurement], directory: Path
) -> dict[str, Measurement]:
    """Measurements with an empty cache, and with the cache of the measurement before.

    Both use the same cache folder, because some versions of JAX include its path in the cache key.

    Args:
        measure: Makes a measurement that runs with the given environment variables.
        directory: Parent of the cache folder.
    """
    cache = directory / "kept"
    warm = measure({"XDG_CACHE_HOME": str(cache)})

    def cold() -> tuple[Sequence[float], int, Mapping[str, str]]:
        shutil.rmtree(cache, ignore_errors=True)
        return warm()

    return {f"{OURS}, nothing kept": cold, f"{OURS}, again": warm}


def _training(words: Sequence[object]) -> Callable[[Mapping[str, str]], Measurement]:
    """A training's whole process, as a function of its environment; its run is deleted."""

    def measure(environment: Mapping[str, str]) -> Measurement:
        def once() -> tuple[Sequence[float], int, Mapping[str, str]]:
            with tempfile.TemporaryDirectory() as runs:
                return command([*words, "--runs", runs], environment)()

        return once

    return measure


def write_photos(directory: Path, count: int, size: tuple[int, int]) -> None:
    """Write JPEGs like those of a phone: a rendered scene with grain.

    Args:
        directory: An empty folder; the photos are divided into two classes.
        count: Number of photos.
        size: Width and height, in pixels.
    """
    import numpy as np
    from PIL import Image

    width, height = size
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (30, 40, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    grain = random.normal(0, 5, (height, width, 1)).astype(np.int16)
    noisy = np.clip(np.asarray(smooth, np.int16) + grain, 0, 255).astype(np.uint8)
    for number in range(count):
        folder = directory / ("left" if number % 2 else "right")
        folder.mkdir(exist_ok=True)
        # Every file differs, because equal files would be decoded only once.
        picture = Image.fromarray(np.roll(noisy, number + 1, axis=1))
        picture.save(folder / f"{number:04}.jpg", quality=90)
