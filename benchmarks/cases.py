"""What is compared, and how each baseline does it."""

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

from benchmarks.measure import BaselineError, Case, Measurement, alternate, command, run, worker


@dataclasses.dataclass(frozen=True)
class Settings:
    """How large and how often.

    Attributes:
        baselines_python: Interpreter with TensorFlow, Keras and PyTorch.
        rounds: How often each baseline has its turn.
        budget: Seconds of repetitions in a turn.
        least: Repetitions in a turn, at least.
        batch_size: Of a training step.
        image_size: Of a training step and of predictions.
        finetune: Batch and image size of a step of fine-tuning.
        depthwise: Batch, side and channels of one depthwise convolution.
        predict_sizes: Images in a prediction.
        train_sizes: Image sizes of whole trainings.
        epochs: Of whole trainings.
        mlp_epochs: Of the perceptron's.
        precisions: Of `precision`.
        photos: Large photos that are decoded.
        photo_size: Their width and height.
        scaling: Values of each quantity that the cost grows with.
        data: Folder of photos for whole trainings.
        say: Gets a line for each measurement.
    """

    baselines_python: str
    rounds: int
    budget: float
    least: int
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
    data: Path
    say: Callable[[str], None]


OURS = "chifoumi-jax"


def step(settings: Settings) -> Iterator[Case]:
    """One training step of the CNN."""
    size, batch = settings.image_size, settings.batch_size
    yield alternate(
        f"training step, {size} px, batch {batch}",
        "s",
        _frameworks(settings, "train", batch),
        settings.rounds,
        settings.say,
    )


def finetune(settings: Settings) -> Iterator[Case]:
    """A step of fine-tuning EfficientNet-Lite0, and the convolution that makes it slow in XLA."""
    batch, size = settings.finetune
    ours, whole = (_finetune(settings, task, settings.finetune) for task in ("recipe", "whole"))
    for task, what, in_jax in (
        ("recipe", "two stages frozen", {f"{OURS}, with augmentation and moving average": ours}),
        ("whole", "every stage", {OURS: whole}),
    ):
        yield alternate(
            f"fine-tuning step, {what}, {size} px, batch {batch}",
            "s",
            {**in_jax, **_finetune_by_torch(settings, task, settings.finetune)},
            settings.rounds,
            settings.say,
        )
    images, side, channels = settings.depthwise
    yield alternate(
        f"depthwise convolution and its gradients, {images} x {side} x {side} x {channels}",
        "s",
        {
            OURS: _finetune(settings, "depthwise", settings.depthwise),
            "XLA": _finetune(settings, "depthwise_by_xla", settings.depthwise),
            **_finetune_by_torch(settings, "depthwise", settings.depthwise),
        },
        settings.rounds,
        settings.say,
    )


def feeding(settings: Settings) -> Iterator[Case]:
    """What of a step goes into having its images, from the second epoch on."""
    numbers = (settings.batch_size, settings.image_size, settings.budget, settings.least)
    tasks = {
        "a whole step": ("chifoumi", "train"),
        "its images, all on the device": ("input_pipeline", "resident"),
        "its images, read ahead": ("input_pipeline", "streamed"),
    }
    yield alternate(
        f"images of a step, {settings.image_size} px, batch {settings.batch_size}",
        "s",
        {name: worker(sys.executable, (*task, *numbers), {}) for name, task in tasks.items()},
        settings.rounds,
        settings.say,
    )


def predict(settings: Settings) -> Iterator[Case]:
    """Images a second in evaluation, from the host's memory to probabilities in it."""
    for batch in settings.predict_sizes:
        rate = functools.partial(operator.truediv, batch)
        yield alternate(
            f"prediction, {settings.image_size} px, batch {batch}",
            "images/s",
            _frameworks(settings, "predict", batch, rate)
            | {
                f"{name}, predict_on_batch": measure
                for name, measure in _frameworks(settings, "predict_on_batch", batch, rate).items()
                if name.startswith("Keras on TensorFlow")
            },
            settings.rounds,
            settings.say,
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
            yield alternate(
                f"whole training, {size} px, {settings.epochs} epochs",
                "s",
                {
                    **_twice(_training((*ours, *shared)), directory),
                    "Keras on TensorFlow": command([*theirs, *shared, "--save", saved]),
                },
                settings.rounds,
                settings.say,
            )


def mlp(settings: Settings) -> Iterator[Case]:
    """The perceptron's training: the whole process, and the epochs alone."""
    _import_before(settings, "chifoumi_jax.training.fit", "reference.torch_mlp")
    epochs = settings.mlp_epochs
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shared = ("--data", settings.data, "--epochs", epochs)
        ours = (sys.executable, "-m", "chifoumi_jax.train", "--recipe", "study-mlp", "--quiet")
        theirs = (settings.baselines_python, "-m", "reference.torch_mlp", *shared)
        yield alternate(
            f"whole training of the MLP, {epochs} epochs",
            "s",
            {
                **_twice(_training((*ours, *shared)), directory),
                "PyTorch": command(theirs),
                "PyTorch, each photo read in each epoch, as in the study": command(
                    [*theirs, "--reread"]
                ),
            },
            settings.rounds,
            settings.say,
        )
    arguments = (settings.data.absolute(), epochs)
    yield alternate(
        f"the MLP's {epochs} epochs alone",
        "s",
        {
            OURS: worker(sys.executable, ("epochs_chifoumi", "mlp", *arguments, 0, 1), {}),
            "PyTorch": worker(
                settings.baselines_python, ("epochs_torch", "mlp", *arguments, 0, 1), {}
            ),
        },
        settings.rounds,
        settings.say,
    )


def decode(settings: Settings) -> Iterator[Case]:
    """Photos a second from files to pixels of the network's size, with all cores."""
    width, height = settings.photo_size
    with tempfile.TemporaryDirectory() as name:
        write_photos(Path(name), settings.photos, settings.photo_size)
        arguments = (name, settings.image_size, settings.budget, settings.least)

        def rate(seconds: float) -> float:
            return settings.photos / seconds

        yield alternate(
            f"decoding JPEGs of {width} x {height}",
            "photos/s",
            {
                f"{OURS}: checked, hashed, decoded, resized, kept": worker(
                    sys.executable, ("decoding", "first_epoch", *arguments), {}, rate
                ),
                "libjpeg-turbo: decoded": worker(
                    sys.executable, ("decoding", "decoded", *arguments), {}, rate
                ),
                f"{OURS}: kept by an earlier run": worker(
                    sys.executable, ("decoding", "kept", *arguments), {}, rate
                ),
            },
            settings.rounds,
            settings.say,
            more_is_better=True,
        )


def start(settings: Settings) -> Iterator[Case]:
    """Seconds from the command to the end of the first step, without the imports."""
    arguments = ("start", "first_step", settings.data.absolute(), settings.image_size, 0, 1)
    with tempfile.TemporaryDirectory() as name:

        def measure(environment: Mapping[str, str]) -> Measurement:
            return worker(sys.executable, arguments, environment)

        yield alternate(
            f"start to first step, {settings.image_size} px",
            "s",
            _twice(measure, Path(name)),
            settings.rounds,
            settings.say,
        )


def precision(settings: Settings) -> Iterator[Case]:
    """A training step and the study's training in each precision, and what the device allows.

    Meant for a GPU; on a CPU `tf32` is `float32`, and 16 bits are slow.
    """
    size, batch = settings.image_size, settings.batch_size
    numbers = (batch, size, settings.budget, settings.least)
    names, data = settings.precisions, settings.data.absolute()
    for name in names:

        def one(
            task: str, name: str = name, convert: Callable[[float], float] = lambda s: s
        ) -> Measurement:
            return worker(sys.executable, ("precision", task, name, *numbers), {}, convert)

        baselines = {
            OURS: one("ours"),
            "XLA's own convolutions": one("xla"),
            "memory's bound": one("memory"),
            "arithmetic's bound": one("product"),
        }
        if name == "float32":
            # What its accuracy costs on units that have no float32.
            baselines["arithmetic's bound, TF32 three times"] = one(
                "product", "tf32", lambda s: 3 * s
            )
        yield alternate(
            f"training step in {name}, {size} px, batch {batch}",
            "s",
            baselines,
            settings.rounds,
            settings.say,
        )
    yield alternate(
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
        settings.say,
    )


def scaling(settings: Settings) -> Iterator[Case]:
    """How the cost grows: one value after another, ours alone."""

    def case(name: str, task: str, values: Sequence[int]) -> Case:
        def measure(value: int) -> Measurement:
            devices = value if task == "devices" else 1
            own = os.environ.get("XLA_FLAGS", "")
            flags = {"XLA_FLAGS": f"{own} --xla_force_host_platform_device_count={devices}"}
            arguments = ("scaling", task, value, settings.budget, settings.least)
            return worker(sys.executable, arguments, flags)

        baselines = {str(value): measure(value) for value in values}
        return alternate(name, "s", baselines, settings.rounds, settings.say)

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
}
# Measured by default; precisions are for a GPU.
DEFAULT = tuple(name for name in CASES if name != "precision")
# Earlier names of a case, still understood.
ALIASES = {"growth": "scaling"}


def _frameworks(
    settings: Settings,
    task: str,
    batch: int,
    convert: Callable[[float], float] = lambda seconds: seconds,
) -> dict[str, Measurement]:
    """Every framework's way of doing a task."""
    theirs = settings.baselines_python
    baselines: dict[str, tuple[str, str, Mapping[str, str]]] = {
        OURS: (sys.executable, "chifoumi", {}),
        "Keras on TensorFlow": (theirs, "keras", {"KERAS_BACKEND": "tensorflow"}),
        "PyTorch, channels last": (theirs, "torch", {"TORCH_FORMAT": "channels_last"}),
        "PyTorch, NCHW": (theirs, "torch", {"TORCH_FORMAT": "contiguous"}),
        "Keras on JAX": (theirs, "keras", {"KERAS_BACKEND": "jax"}),
        "plain JAX": (sys.executable, "plain_jax", {}),
    }
    numbers = (batch, settings.image_size, settings.budget, settings.least)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    return {
        name: worker(python, (module, task, *numbers), {**environment, **quiet}, convert)
        for name, (python, module, environment) in baselines.items()
    }


def _finetune(settings: Settings, task: str, sizes: Sequence[int]) -> Measurement:
    numbers = (*sizes, settings.budget, settings.least)
    return worker(sys.executable, ("finetune_chifoumi", task, *numbers), {})


def _finetune_by_torch(
    settings: Settings, task: str, sizes: Sequence[int]
) -> dict[str, Measurement]:
    numbers = (*sizes, settings.budget, settings.least)
    arguments = ("finetune_torch", task, *numbers)
    return {
        f"PyTorch, {name}": worker(settings.baselines_python, arguments, {"TORCH_FORMAT": layout})
        for name, layout in (("channels last", "channels_last"), ("NCHW", "contiguous"))
    }


def _import_before(settings: Settings, ours: str, theirs: str) -> None:
    """Import both once, so that no start that is timed compiles Python's modules."""
    for python, module in ((sys.executable, ours), (settings.baselines_python, theirs)):
        # One that cannot be imported is named when it is measured.
        with contextlib.suppress(BaselineError):
            run([python, "-c", f"import {module}"])


def _twice(
    measure: Callable[[Mapping[str, str]], Measurement], directory: Path
) -> dict[str, Measurement]:
    """What a measurement by its environment takes that finds nothing kept, and the next one.

    In one place: some versions of JAX take the folder of what they keep for a part of its name.
    """
    kept = directory / "kept"
    again = measure({"XDG_CACHE_HOME": str(kept)})

    def nothing_kept() -> tuple[Sequence[float], int, Mapping[str, str]]:
        shutil.rmtree(kept, ignore_errors=True)
        return again()

    return {f"{OURS}, nothing kept": nothing_kept, f"{OURS}, again": again}


def _training(words: Sequence[object]) -> Callable[[Mapping[str, str]], Measurement]:
    """A training's whole process by its environment; nobody looks at its run."""

    def measure(environment: Mapping[str, str]) -> Measurement:
        def once() -> tuple[Sequence[float], int, Mapping[str, str]]:
            with tempfile.TemporaryDirectory() as runs:
                return command([*words, "--runs", runs], environment)()

        return once

    return measure


def write_photos(directory: Path, count: int, size: tuple[int, int]) -> None:
    """Write JPEGs as a phone makes them, of a rendered scene with grain.

    Args:
        directory: An empty folder; the photos go into two classes.
        count: How many.
        size: Width and height.
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
        # Another file each time: equal ones would be decoded once.
        picture = Image.fromarray(np.roll(noisy, number + 1, axis=1))
        picture.save(folder / f"{number:04}.jpg", quality=90)
