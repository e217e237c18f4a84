"""`export`: a run's model for another runtime, in a file that appears if it computes the same."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chifoumi_jax.data.dataset import Progress
from chifoumi_jax.export import inputs, verify
from chifoumi_jax.export.formats import SUFFIXES, ExportError, Format, needs
from chifoumi_jax.export.inputs import Inputs
from chifoumi_jax.export.network import describe
from chifoumi_jax.export.verify import Check, Made, Runner
from chifoumi_jax.files import sync_directory
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.load import load
from chifoumi_jax.training.resources import gigabytes


@dataclasses.dataclass(frozen=True)
class Report:
    """What an export was found to be.

    Attributes:
        path: The file.
        compared_on: Which photos it was compared on.
        checks: What was compared, with what it may be.
        milliseconds: A photo alone, on this machine's CPU (JAX: its device), by what runs it.
        accuracies: On the photos, where 8 bits change it; empty otherwise.
        sizes: Bytes of each file that was written on the way, and of the file itself.
    """

    path: Path
    compared_on: str
    checks: tuple[Check, ...]
    milliseconds: dict[str, float]
    accuracies: dict[str, float]
    sizes: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        checks = [check._asdict() for check in self.checks]
        return dataclasses.asdict(self) | {"path": str(self.path), "checks": checks}

    def rows(self) -> list[list[str]]:
        """For each file, and for the run: name, size, time and accuracy, in words."""
        return [
            [
                name,
                gigabytes(self.sizes[name]) if name in self.sizes else "",
                f"{took:.3g} ms" if took < 1000 else f"{took:,.0f} ms",
                f"{self.accuracies[name]:.1%}" if name in self.accuracies else "",
            ]
            for name, took in self.milliseconds.items()
        ]


def export(
    run: str | os.PathLike[str],
    to: Format,
    out: str | os.PathLike[str] | None = None,
    *,
    data: Path | None = None,
    best: bool = False,
    preprocess: bool = False,
    int8: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Write a run's model for another runtime.

    What was written is loaded again in that runtime and compared with `load(run)` on real photos;
    only then does the file appear.

    Args:
        run: The run's folder, or a file of `export(run, "safetensors")`.
        to: For which runtime.
        out: The file; by default `model` with the format's suffix, in the run's folder.
        data: Folder of labelled photos to compare on; by default the run's own, or rendered hands.
        best: Take the best checkpoint instead of the last.
        preprocess: ONNX only: take uint8 RGB pictures of any size, and resize them in the graph.
        int8: ONNX only: weights and activations in 8 bits.
        force: Replace the file if it exists.
        progress: Called with the number of photos read and of all.

    Raises:
        ExportError: If the format cannot hold the model, a package is missing, the file exists, or
            what was written does not compute the same.
        RunError: If the folder is no run.
        CheckpointError: If no checkpoint is whole.
        WeightsError: If the file of weights cannot be read.
        DataError: If `data` holds too few photos of the run's classes.
    """
    if to not in SUFFIXES:
        raise ExportError(f"--to must be one of {', '.join(SUFFIXES)}, not {to}")
    if to != "onnx" and (preprocess or int8):
        raise ExportError("--preprocess and --int8 go with --to onnx")
    _require_packages(to)
    source = Path(run)
    classifier = verify.exact(load(source, best=best))
    target = _target(source, out, to, int8)
    _require_free(target, force)
    if data is not None and target.resolve().is_relative_to(data.resolve()):
        raise ExportError(
            f"{target} lies in the photos' folder {data}, which is never written to: name another "
            "file with --out"
        )
    photos = inputs.gather(source, classifier, data, progress, judged=int8)
    if int8 and photos.labels is None:
        raise ExportError(
            "8 bits are fitted to photos of the model's classes, and there are only "
            f"{photos.origin}"
        )
    with _appearing(target, force) as temporary:
        made = _make(to, classifier, photos, temporary, target.name, preprocess, int8)
        ours = verify.timed_classifier(classifier, photos.compared[:1])
        seconds = verify.time_each({verify.OURS: ours, **made.timed})
        sizes = {**made.sizes, target.name: temporary.stat().st_size}
    return Report(
        target,
        photos.origin,
        tuple(made.checks),
        {name: 1000 * second for name, second in seconds.items()},
        dict(made.accuracies),
        sizes,
    )


def _require_packages(to: Format) -> None:
    match to:
        case "onnx":
            needs(to, "onnx", "onnxruntime", extra="export")
        case "stablehlo":
            needs(to, "flatbuffers", extra="export")
        case "keras":
            needs(to, "keras", "tensorflow", extra="parity")
        case "torch":
            needs(to, "torch", extra="parity")
        case "safetensors":
            pass


def _make(
    to: Format,
    classifier: Classifier,
    photos: Inputs,
    path: Path,
    name: str,
    preprocess: bool,
    int8: bool,
) -> Made:
    """Write the file, load it again and compare it; a format's library is imported here only."""
    match to:
        case "onnx":
            from chifoumi_jax.export.onnx.export import make as make_onnx

            return make_onnx(classifier, photos, path, name, preprocess=preprocess, int8=int8)
        case "safetensors":
            from chifoumi_jax.export import safetensors_file

            return safetensors_file.make(classifier, photos, path, name)
        case "stablehlo":
            from chifoumi_jax.export import stablehlo

            stablehlo.write(describe(classifier), path)
            runner: Runner = stablehlo.StableHloRunner(path)
        case "keras":
            from chifoumi_jax.export import keras_file

            keras_file.write(describe(classifier), path)
            runner = keras_file.KerasRunner(path)
        case "torch":
            from chifoumi_jax.export import torch_file

            torch_file.write(describe(classifier), path)
            runner = torch_file.TorchRunner(path)
    wanted = verify.reference(classifier, photos.compared)
    checks = verify.compare(runner, wanted, wanted.images)
    return Made(checks, {name: verify.timed(runner, wanted.images[:1])})


def _target(source: Path, out: str | os.PathLike[str] | None, to: Format, int8: bool) -> Path:
    suffix = SUFFIXES[to]
    if out is None:
        folder = source if source.is_dir() else source.parent
        return folder / f"model{'-int8' if int8 else ''}{suffix}"
    target = Path(out)
    if target.suffix != suffix:
        raise ExportError(f"{target} must end in {suffix}, by which it is known for what it is")
    if not target.parent.is_dir():
        raise ExportError(
            f"there is no folder {target.parent} to write {target.name} to: make it first"
        )
    return target


def _require_free(target: Path, force: bool) -> None:
    if target.is_dir():
        raise ExportError(f"{target} is a folder: name a file with --out")
    if target.exists() and not force:
        raise ExportError(f"{target} exists: name another file with --out, or give --force")


@contextlib.contextmanager
def _appearing(target: Path, force: bool) -> Iterator[Path]:
    """A path beside `target`, with its suffix; what is written there takes its place at the end.

    If the block fails, nothing is left, and a file that was there before is as it was.
    """
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # Somebody else may have made it in the meantime.
        _require_free(target, force)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(target.parent)
