"""Classifying files that were not checked before: a bad file does not stop the others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chifoumi_jax.data.decode import decode, open_checked
from chifoumi_jax.data.problems import ImageProblem
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.files import first_free, write_atomically
from chifoumi_jax.prediction.classifier import Classifier, chunks
from chifoumi_jax.prediction.heatmap import captioned, heat_picture, png
from chifoumi_jax.prediction.inputs import Input
from chifoumi_jax.text import printable

Answer = dict[str, Any]
# Takes an answer, its photo and its heat map, writes a picture and returns the picture's path.
Explain = Callable[[Answer, Image.Image, np.ndarray], Path]

# Longer side of the photos in the pictures, in pixels.
_MAX_SIDE = 480
# Characters of the photo's name that a picture's name keeps.
_MAX_STEM = 60


def answers(
    classifier: Classifier,
    inputs: Sequence[Input],
    *,
    batch_size: int = 25,
    explain: Explain | None = None,
) -> Iterator[Answer]:
    """One answer for each file, in order, ready for JSON.

    An answer has `file`. If the file cannot be read it has `error`, one sentence. Otherwise it has
    `label`, `probability`, `unsure` (whether the probability is below the run's threshold),
    `probabilities` by class and, with `explain`, `explanation`: the path of the picture.

    Raises:
        RunError: If `explain` is given and the network has no feature map.
    """
    for chunk in chunks(inputs, batch_size):
        chunk_answers: list[Answer] = []
        readable: list[Answer] = []
        pixels: list[np.ndarray] = []
        pictures: list[Image.Image] = []
        for item in chunk:
            answer: Answer = {"file": item.name}
            chunk_answers.append(answer)
            if item.problem:
                answer["error"] = item.problem
                continue
            try:
                image = _open(item)
            except ImageProblem as problem:
                answer["error"] = str(problem)
                continue
            pixels.append(classifier.pixels(image))
            if explain is not None:
                pictures.append(classifier.picture(image, _MAX_SIDE))
            readable.append(answer)
        if readable:
            _classify(classifier, readable, np.stack(pixels))
        if readable and explain is not None:
            labels = [classifier.classes.index(answer["label"]) for answer in readable]
            heats = classifier.heat(np.stack(pixels), np.array(labels))
            for answer, picture, heat in zip(readable, pictures, heats, strict=True):
                answer["explanation"] = str(explain(answer, picture, heat))
        yield from chunk_answers


def explain_in(directory: Path, inputs: Sequence[Input]) -> Explain:
    """A function that writes each photo's heat map into a folder and overwrites no file.

    Args:
        directory: The folder; created with the first picture.
        inputs: The files to explain.

    Raises:
        RecipeError: If `directory` is a file or lies in a folder of photos, because the next run
            would classify the pictures as photos.
    """
    if directory.exists() and not directory.is_dir():
        raise RecipeError(f"--explain {printable(str(directory))} is a file: name a folder")
    resolved = directory.resolve()
    for folder in sorted({item.folder for item in inputs if item.folder}):
        if resolved.is_relative_to(Path(folder).resolve()):
            raise _inside_photos(directory, folder)
    for folder in sorted({str(Path(item.name).parent) for item in inputs if not item.problem}):
        if resolved == Path(folder).resolve():
            raise _inside_photos(directory, folder)

    def explain(answer: Answer, photo: Image.Image, heat: np.ndarray) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        mark = ", unsure" if answer["unsure"] else ""
        caption = f"{answer['label']} {answer['probability']:.1%}{mark}"
        sheet = captioned(photo, heat_picture(photo, heat), printable(caption))
        path = _new_file(directory, _stem(answer["file"]))
        write_atomically(path, png(sheet))
        return path

    return explain


def _inside_photos(directory: Path, folder: str) -> RecipeError:
    return RecipeError(
        f"--explain {printable(str(directory))} lies in the photos' folder {printable(folder)}, "
        "which is never written to: name another folder"
    )


def _open(item: Input) -> Image.Image:
    if item.content is not None:
        return decode(item.content, item.name)
    return open_checked(item.name)


def _classify(classifier: Classifier, readable: Sequence[Answer], pixels: np.ndarray) -> None:
    for answer, row in zip(readable, classifier.probabilities(pixels), strict=True):
        label = int(np.argmax(row))
        answer["label"] = classifier.classes[label]
        answer["probability"] = float(row[label])
        answer["unsure"] = bool(row[label] < classifier.calibration.threshold)
        answer["probabilities"] = dict(zip(classifier.classes, map(float, row), strict=True))


def _stem(name: str) -> str:
    # A long name is cut, because with its suffix and number it must fit into 255 bytes.
    return re.sub(r"^[.-]+", "", Path(name).stem)[:_MAX_STEM] or "photo"


def _new_file(directory: Path, stem: str) -> Path:
    """Create an empty file with an unused name: `<stem>-heat.png`, `<stem>-heat-2.png`, …."""
    paths = (
        directory / f"{stem}-heat{'' if number == 1 else f'-{number}'}.png"
        for number in itertools.count(1)
    )
    return first_free(paths, lambda path: path.touch(exist_ok=False))
