"""Self-contained HTML pages: no script, no network request, and every value escaped."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from chifoumi_jax.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment


def page_environment(package: str, directory: str) -> Environment:
    """A jinja2 environment for the templates in a package's directory.

    It escapes values, raises an error for undefined names, and escapes the control characters of
    plain strings visibly, because file names may hold anything.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package, directory),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_escape_controls,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def as_jpeg(image: Image.Image, quality: int, *, optimize: bool = False) -> bytes:
    """Encode the pixels alone as a new JPEG: no EXIF, no comment, no thumbnail.

    Args:
        image: Any picture; it is converted to RGB.
        quality: Pillow's JPEG quality.
        optimize: Pillow's `optimize`: a smaller file of the same pixels.
    """
    file = io.BytesIO()
    # A decoded picture keeps its file's comment, so the JPEG is made from the bare pixels.
    pixels = Image.fromarray(np.asarray(image.convert("RGB")))
    pixels.save(file, "JPEG", quality=quality, optimize=optimize)
    return file.getvalue()


def image_uri(content: bytes, kind: str = "jpeg") -> str:
    """A JPEG or PNG file as a data URI, for an `<img>` that loads nothing."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


def _escape_controls(value: Any) -> Any:
    # Only plain strings: the template's own output is `Markup` and must stay unchanged.
    return printable(value) if type(value) is str else value
