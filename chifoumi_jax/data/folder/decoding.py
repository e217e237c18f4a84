"""Decodes all photos of a folder once, in threads."""

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from chifoumi_jax.callbacks import OnProgress
from chifoumi_jax.data.decode import PixelBuffer, decode, read_bytes
from chifoumi_jax.data.problems import ImageProblem, Problem

OnImage = Callable[[str, Image.Image], object]
Known = Callable[[str], tuple[int, int] | None]

# More threads would only hold more decoded pictures in memory.
_MAX_WORKERS = 8


@dataclass(frozen=True)
class Decoded:
    """Result for a good photo: the hash of its bytes, and its stored size in pixels."""

    sha256: str
    width: int
    height: int


def decode_all(
    root: Path,
    paths: Sequence[str],
    *,
    max_pixels: int,
    workers: int | None,
    on_image: OnImage | None,
    known: Known | None,
    progress: OnProgress | None,
) -> tuple[dict[str, Decoded], list[Problem]]:
    """Read, hash and decode each file once; at most `workers` files are in memory at a time.

    A file is not decoded if `known` returns the width and height for its hash.

    Returns:
        The good photos by path, and a problem for each bad file, in the order of `paths`.
    """
    read = partial(_read_and_decode, root, max_pixels, on_image, known)
    good: dict[str, Decoded] = {}
    problems: list[Problem] = []
    with ThreadPoolExecutor(workers or _default_workers()) as pool:
        for done, (path, result) in enumerate(
            zip(paths, pool.map(read, paths), strict=True), start=1
        ):
            if isinstance(result, Problem):
                problems.append(result)
            else:
                good[path] = result
            if progress is not None:
                progress(done, len(paths))
    return good, problems


def _read_and_decode(
    root: Path, max_pixels: int, on_image: OnImage | None, known: Known | None, path: str
) -> Decoded | Problem:
    try:
        content = read_bytes(root / path)
        digest = hashlib.sha256(content).hexdigest()
        if known is not None and (size := known(digest)) is not None:
            return Decoded(digest, *size)
        image = decode(content, path, max_pixels=max_pixels, buffer=_thread_buffer())
        if on_image is not None:
            on_image(digest, image)
    except ImageProblem as problem:
        return Problem(problem.kind, (path,), problem.detail)
    return Decoded(digest, *image.size)


_thread_local = threading.local()


def _thread_buffer() -> PixelBuffer:
    if not hasattr(_thread_local, "buffer"):
        _thread_local.buffer = PixelBuffer()
    buffer: PixelBuffer = _thread_local.buffer
    return buffer


def _default_workers() -> int:
    if hasattr(os, "sched_getaffinity"):
        return min(_MAX_WORKERS, len(os.sched_getaffinity(0)))
    return min(_MAX_WORKERS, os.cpu_count() or 1)
