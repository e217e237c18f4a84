"""Rung 3: equal pixels from the same decoded image, and the same order of the images."""

import functools
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image

from chifoumi_jax.data import load_pixels
from parity.candidate import Candidate
from parity.case import Case
from parity.check import AbsentError, Check
from parity.comparison import Comparison, Difference, compare_exactly
from parity.original import LiveOriginal, Original
from parity.originals.golden import GoldenOriginal
from reference.legacy import seeded

_PHOTOS = 48
_SUFFIXES = {".jpg", ".jpeg", ".png"}


def checks(original: Original) -> Iterator[Check]:
    """Resizing, augmentation and scaling; then the order of the batches."""
    pixels, scaled = functools.cache(original.pixels), functools.cache(original.scaled)
    yield original.check(
        3,
        bound=0.0,
        quick=True,
        case="resized, augmented",
        because="whole numbers, equal or not",
        run=lambda candidate: compare_exactly(
            _pixels(candidate, original.case, list(pixels())), pixels()
        ),
    )
    yield original.check(
        3,
        bound=0.0,
        quick=True,
        case="scaled",
        because="one float32 operation on each of 256 values, equal bit for bit",
        run=lambda candidate: compare_exactly(
            {"every value": np.asarray(candidate.scale(jnp.arange(256, dtype=jnp.uint8)))}, scaled()
        ),
    )
    if isinstance(original, GoldenOriginal) and original.golden.has("jpeg/"):
        yield original.check(
            3,
            bound=0.0,
            quick=True,
            case="rescaled file by file",
            because="the loader's own output, equal bit for bit",
            run=lambda candidate: _rescaled(candidate, original),
        )
        yield original.check(
            3,
            bound=0.0,
            quick=True,
            case="from a JPEG file, once decoded",
            because="decoders differ by version; later steps are whole numbers, equal or not",
            run=lambda candidate: _decoded_jpeg(candidate, original),
        )
    if isinstance(original, LiveOriginal):
        yield original.check(
            3,
            case="loaded from PNG files of several modes",
            bound=0.0,
            because="whole numbers, equal or not",
            run=functools.partial(_files, original),
        )
        yield original.check(
            3,
            case="photos",
            bound=0.0,
            because="whole numbers, equal or not",
            run=functools.partial(_photos, original),
        )
    if original.case.orders:
        yield original.check(
            3,
            bound=0.0,
            quick=True,
            case="order of the batches",
            because="sizes of the batches are equal or not; each pass shows every image once",
            run=lambda candidate: _orders(candidate, original),
        )


def _pixels(candidate: Candidate, case: Case, names: list[str]) -> dict[str, np.ndarray]:
    found = {}
    for name in names:
        kind, _, detail = name.partition("/")
        if kind == "pixels":
            image = Image.fromarray(seeded.decoded(int(detail)))
            found[name] = candidate.resize(image, case.picture_size(int(detail)))
        else:
            image = Image.fromarray(seeded.decoded(len(seeded.RESIZES) - 1))
            found[name] = candidate.augment(candidate.resize(image, case.size), kind, detail)
    return found


def _rescaled(candidate: Candidate, original: GoldenOriginal) -> Comparison:
    theirs = {n: v for n, v in original.golden.with_prefix("scaled/").items() if n != "every"}
    ours = {
        number: np.asarray(
            candidate.scale(
                jnp.asarray(
                    candidate.resize(
                        Image.fromarray(seeded.decoded(int(number))), seeded.RESIZES[int(number)][1]
                    )
                )
            )
        )
        for number in theirs
    }
    return compare_exactly(ours, theirs)


def _decoded_jpeg(candidate: Candidate, original: GoldenOriginal) -> Comparison:
    golden = original.golden
    ours = candidate.resize(Image.fromarray(golden["jpeg/decoded"]), 31)
    return compare_exactly({"jpeg": ours}, {"jpeg": golden["jpeg/pixels"].astype(np.uint8)})


def _photos(original: LiveOriginal, candidate: Candidate) -> Comparison:
    folder = os.environ.get("CHIFOUMI_PHOTOS")
    if not folder:
        raise AbsentError("no photos: give their folder with --photos or CHIFOUMI_PHOTOS")
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
    # Evenly spaced over the folder, so that every class and session is represented.
    chosen = paths[:: max(1, len(paths) // _PHOTOS)]
    return _loaded(original, {path.relative_to(folder).as_posix(): path for path in chosen})


def _files(original: LiveOriginal, candidate: Candidate) -> Comparison:
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for number in range(len(seeded.RESIZES)):
            for mode in ("RGB", "L", "P", "RGBA"):
                name = f"{mode} {number}"
                paths[name] = Path(folder) / f"{name}.png"
                Image.fromarray(seeded.decoded(number)).convert(mode).save(paths[name])
        return _loaded(original, paths)


def _loaded(original: LiveOriginal, paths: Mapping[str, Path]) -> Comparison:
    # Tests the loader itself, because a candidate's parts begin after decoding.
    size, layout = original.case.photo_size, original.case.recipe.layout
    ours = {name: load_pixels(path, size, layout) for name, path in paths.items()}
    theirs = {name: original.load(path, size) for name, path in paths.items()}
    return compare_exactly(ours, theirs)


def _same_sizes(quantity: str, ours: Sequence[int], theirs: Sequence[int]) -> Difference:
    if len(ours) != len(theirs):
        reason = f"{len(ours)} batches, the original has {len(theirs)}"
        return Difference(quantity, math.inf, reason=reason)
    for number, (mine, yours) in enumerate(zip(ours, theirs, strict=True), start=1):
        if mine != yours:
            reason = f"batch {number} has {mine} images, the original's has {yours}"
            return Difference(quantity, math.inf, reason=reason)
    return Difference(quantity, 0.0)


def _orders(candidate: Candidate, original: Original) -> Comparison:
    found = []
    for images, batch_size, epochs in original.case.orders:
        rows = candidate.order(images, batch_size, epochs)
        sizes = [len(batch) for batch in rows]
        theirs = original.order(images, batch_size, len(rows))
        name = f"{images} images in batches of {batch_size}"
        found.append(_same_sizes(f"sizes, {name}", sizes, theirs))
        per_pass = math.ceil(images / batch_size)
        for start in range(0, len(rows) - per_pass + 1, per_pass):
            shown = np.concatenate(rows[start : start + per_pass])
            reason = ""
            if not np.array_equal(np.sort(shown), np.arange(images)):
                reason = "does not show every image once"
            elif np.array_equal(shown, np.arange(images)):
                reason = "is not shuffled"
            error = math.inf if reason else 0.0
            found.append(Difference(f"pass {start // per_pass + 1}, {name}", error, reason=reason))
    return Comparison(tuple(found))
