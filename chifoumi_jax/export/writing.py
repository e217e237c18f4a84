"""`export`: writes a run's model for another runtime, and keeps the file if it is equivalent."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chifoumi_jax.callbacks import OnProgress
from chifoumi_jax.environment import require_installed
from chifoumi_jax.export import inputs, verify
from chifoumi_jax.export.formats import NEEDED, SUFFIXES, ExportError, Format
from chifoumi_jax.export.inputs import Inputs
from chifoumi_jax.export.network import describe
from chifoumi_jax.export.verify import Check, ExportResult, Runner
from chifoumi_jax.files import sync_directory
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.load import load
from chifoumi_jax.training.resources import gigabytes


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of an export.

    Attributes:
        path: The exported file.
        compared_on: The photos of the comparison, in words.
        checks: The compared quantities with their differences and bounds.
        milliseconds: Time of a single photo: for JAX on its device, and for each file in its
            runtime on this machine's CPU. The keys are "JAX" and the names of the files.
        accuracies: Accuracy on the photos, by the same keys, for 8 bits only; otherwise empty.
        sizes: Size in bytes of the exported file; for 8 bits also of the float32 file, from which
            it was quantised.
    """

    path: Path
    compared_on: str
    checks: tuple[Check, ...]
    milliseconds: dict[str, float]
    accuracies: dict[str, float]
    sizes: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """The whole report, ready for JSON."""
        checks = [check._asdict() for check in self.checks]
        return dataclasses.asdict(self) | {"path": str(self.path), "checks": checks}

    def rows(self) -> list[list[str]]:
        """Name, size, time and accuracy of the run and of each file, as text."""
        return [
            [
                name,
                gigabytes(self.sizes[name]) if name in self.sizes else "",
                f"{time:.3g} ms" if time < 1000 else f"{time:,.0f} ms",
                f"{self.accuracies[name]:.1%}" if name in self.accuracies else "",
            ]
            for name, time in self.milliseconds.items()
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
    progress: OnProgress | None = None,
) -> Report:
    """Write a run's model for another runtime.

    The written file is loaded in its runtime, and its outputs are compared with those of the run in
    float32. It appears under its name only if every difference is within its bound; 8 bits have a
    wider bound, and the accuracy is measured.

    Args:
        run: The run's folder, or a file of `export(run, "safetensors")`.
        to: The format.
        out: The file; by default `model` (8 bits: `model-int8`) with the format's suffix, in the
            run's folder or beside the given file.
        data: Folder of labelled photos for the comparison; by default the run's own photos, or
            rendered hands.
        best: Use the best checkpoint instead of the last.
        preprocess: ONNX only: accept uint8 RGB pictures of any size; the graph resizes them.
        int8: ONNX only: 8-bit weights and activations.
        force: Replace the file if it exists.
        progress: Called with the number of photos read so far and the number of all photos.

    Raises:
        ExportError: If the format cannot hold the model, a package is missing, the file exists, or
            the written file does not compute the same.
        RunError: If the folder is not a run.
        CheckpointError: If no checkpoint is intact.
        WeightsError: If the file of weights cannot be read.
        DataError: If `data` has too few photos of the run's classes.
    """
    if to not in SUFFIXES:
        raise ExportError(f"--to must be one of {', '.join(SUFFIXES)}, not {to}")
    if to != "onnx" and (preprocess or int8):
        raise ExportError("--preprocess and --int8 need --to onnx")
    modules, extra = NEEDED[to]
    require_installed(f"--to {to}", *modules, extra=extra, error=ExportError)
    source = Path(run)
    classifier = verify.in_float32(load(source, best=best))
    target = _target(source, out, to, int8)
    _require_free(target, force)
    if data is not None and target.resolve().is_relative_to(data.resolve()):
        raise ExportError(
            f"{target} lies in the photos' folder {data}, which is never written to: name another "
            "file with --out"
        )
    photos = inputs.gather(source, classifier, data, progress, measure_accuracy=int8)
    if int8 and photos.labels is None:
        raise ExportError(
            "--int8 needs photos of the model's classes to choose ranges, and there are only "
            f"{photos.origin}"
        )
    with _temporary_file(target, force) as temporary:
        result = _write_and_compare(
            to, classifier, photos, temporary, target.name, preprocess, int8
        )
        # The file is timed before it gets its name, because the runtimes may read it again.
        ours = verify.classifier_timer(classifier, photos.compared[:1])
        seconds = verify.time_each({verify.OURS: ours, **result.timers})
        sizes = {**result.sizes, target.name: temporary.stat().st_size}
    return Report(
        target,
        photos.origin,
        tuple(result.checks),
        {name: 1000 * second for name, second in seconds.items()},
        dict(result.accuracies),
        sizes,
    )


def _write_and_compare(
    to: Format,
    classifier: Classifier,
    photos: Inputs,
    path: Path,
    name: str,
    preprocess: bool,
    int8: bool,
) -> ExportResult:
    """Write the file, load it again and compare it.

    Each format's module is imported in its own case, because it needs packages of an extra.

    Args:
        to: The format.
        classifier: The run's model.
        photos: The photos to compare on.
        path: The temporary file to write.
        name: Name of the file in the report.
        preprocess: See `export`.
        int8: See `export`.

    Raises:
        ExportError: If the file does not compute the same.
    """
    match to:
        case "onnx":
            from chifoumi_jax.export.onnx import export as onnx_export

            return onnx_export.write_and_compare(
                classifier, photos, path, name, preprocess=preprocess, int8=int8
            )
        case "safetensors":
            from chifoumi_jax.export import safetensors_file

            return safetensors_file.write_and_compare(classifier, photos, path, name)
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
    expected = verify.reference(classifier, photos.compared)
    checks = verify.compare(runner, expected, expected.images)
    return ExportResult(checks, {name: verify.timer(runner, expected.images[:1])})


def _target(source: Path, out: str | os.PathLike[str] | None, to: Format, int8: bool) -> Path:
    suffix = SUFFIXES[to]
    if out is None:
        folder = source if source.is_dir() else source.parent
        return folder / f"model{'-int8' if int8 else ''}{suffix}"
    target = Path(out)
    if target.suffix != suffix:
        raise ExportError(f"{target} must end in {suffix}, the suffix of the format {to}")
    if not target.parent.is_dir():
        raise ExportError(
            f"there is no folder {target.parent} to write {target.name} to: create it first"
        )
    return target


def _require_free(target: Path, force: bool) -> None:
    if target.is_dir():
        raise ExportError(f"{target} is a folder: name a file with --out")
    if target.exists() and not force:
        raise ExportError(f"{target} exists: name another file with --out, or give --force")


@contextlib.contextmanager
def _temporary_file(target: Path, force: bool) -> Iterator[Path]:
    """A temporary path beside `target`; the file that the block writes there replaces `target`.

    If the block fails, the temporary file is removed and an earlier `target` is unchanged. The path
    has the suffix of `target`, which some libraries demand. `files.write_atomically` would need the
    whole content in memory.
    """
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # Another process may have created the target in the meantime.
        _require_free(target, force)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(target.parent)
