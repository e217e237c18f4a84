"""A classifier's answers for files that nobody has checked: a bad one does not stop the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chifoumi_jax.data.decode import decode, open_checked
from chifoumi_jax.data.problems import ImageProblem
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.files import write_atomically
from chifoumi_jax.prediction.classifier import Classifier, chunks
from chifoumi_jax.prediction.heatmap import captioned, heat_picture, png
from chifoumi_jax.prediction.inputs import Input
from chifoumi_jax.text import printable

Answer = dict[str, Any]
# Called with an answer, its photo and its heat map; gives the file that it wrote.
Explain = Callable[[Answer, Image.Image, np.ndarray], Path]

_LONGEST = 480
_STEM = 60


def answers(
    classifier: Classifier,
    inputs: Sequence[Input],
    *,
    batch_size: int = 25,
    explain: Explain | None = None,
) -> Iterator[Answer]:
    """One answer a file, in order, ready for JSON.

    It holds `file`, and either `error`, a sentence, or `label`, `probability`, `unsure` (whether
    that is below the run's threshold), `probabilities` by class and, with `explain`, `explanation`,
    the picture's path.

    Raises:
        RunError: If `explain` is given and the network has no feature map.
    """
    for chunk in chunks(inputs, batch_size):
        found: list[Answer] = []
        read: list[Answer] = []
        pixels: list[np.ndarray] = []
        pictures: list[Image.Image] = []
        for one in chunk:
            found.append({"file": one.name})
            if one.problem:
                found[-1]["error"] = one.problem
                continue
            try:
                image = _image(one)
            except ImageProblem as problem:
                found[-1]["error"] = str(problem)
                continue
            pixels.append(classifier.pixels(image))
            if explain is not None:
                pictures.append(classifier.picture(image, _LONGEST))
            read.append(found[-1])
        if read:
            _classify(classifier, read, np.stack(pixels))
        if read and explain is not None:
            labels = [classifier.classes.index(answer["label"]) for answer in read]
            heats = classifier.heat(np.stack(pixels), np.array(labels))
            for answer, picture, heat in zip(read, pictures, heats, strict=True):
                answer["explanation"] = str(explain(answer, picture, heat))
        yield from found


def explain_in(directory: Path, inputs: Sequence[Input]) -> Explain:
    """What writes each photo's heat map into a folder, over no file that is there.

    Args:
        directory: The folder; made with the first picture.
        inputs: What is explained.

    Raises:
        RecipeError: If it is a file, or lies among the photos, where the pictures would be taken
            for photos the next time.
    """
    if directory.exists() and not directory.is_dir():
        raise RecipeError(f"--explain {printable(str(directory))} is a file: name a folder")
    place = directory.resolve()
    for folder in sorted({one.folder for one in inputs if one.folder}):
        if place.is_relative_to(Path(folder).resolve()):
            raise _among_photos(directory, folder)
    for folder in sorted({str(Path(one.name).parent) for one in inputs if not one.problem}):
        if place == Path(folder).resolve():
            raise _among_photos(directory, folder)

    def explain(answer: Answer, photo: Image.Image, heat: np.ndarray) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        mark = ", unsure" if answer["unsure"] else ""
        caption = f"{answer['label']} {answer['probability']:.1%}{mark}"
        sheet = captioned(photo, heat_picture(photo, heat), printable(caption))
        path = _claim(directory, _stem(answer["file"]))
        write_atomically(path, png(sheet))
        return path

    return explain


def _among_photos(directory: Path, folder: str) -> RecipeError:
    return RecipeError(
        f"--explain {printable(str(directory))} lies in the photos' folder {printable(folder)}, "
        "which is never written to: name another folder"
    )


def _image(one: Input) -> Image.Image:
    if one.content is not None:
        return decode(one.content, one.name)
    return open_checked(one.name)


def _classify(classifier: Classifier, read: Sequence[Answer], pixels: np.ndarray) -> None:
    for answer, row in zip(read, classifier.probabilities(pixels), strict=True):
        place = int(np.argmax(row))
        answer["label"] = classifier.classes[place]
        answer["probability"] = float(row[place])
        answer["unsure"] = bool(row[place] < classifier.calibration.threshold)
        answer["probabilities"] = dict(zip(classifier.classes, map(float, row), strict=True))


def _stem(name: str) -> str:
    # Of a long name the beginning: with what follows it must fit into 255 bytes.
    return re.sub(r"^[.-]+", "", Path(name).stem)[:_STEM] or "photo"


def _claim(directory: Path, stem: str) -> Path:
    """A new file whose name no other has."""
    number = 1
    while True:
        path = directory / f"{stem}-heat{'' if number == 1 else f'-{number}'}.png"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return path
