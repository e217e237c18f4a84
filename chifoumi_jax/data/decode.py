"""Decodes untrusted image files within limits of size."""

import importlib
import math
import os
import stat
from collections.abc import Callable
from io import BytesIO
from typing import IO, TypeVar

import numpy as np
from jaxtyping import Float32, Integer, UInt8
from PIL import ExifTags, Image, ImageFile

from chifoumi_jax.data.problems import ImageProblem, ProblemKind

_T = TypeVar("_T")

# Pillow refuses more by default: 2 × 1 GiB / (4 · 3), half a gigabyte of 24-bit pixels. Phones take
# pictures of up to 108 million pixels (some of 200 million, but only on request).
MAX_PIXELS = 178_956_970
# Size of an uncompressed RGB picture of `MAX_PIXELS` pixels.
MAX_FILE_BYTES = 3 * MAX_PIXELS

_READERS = {
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
}
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_SIGNATURE_BYTES = 16

# Non-blocking, because opening a pipe would block until another process writes to it.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_SIXTEEN_BIT_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N"}
_MODES = _SIXTEEN_BIT_MODES | {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"}
_MODES |= {"CMYK", "YCbCr", "LAB", "F"}

_UPRIGHT_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_bytes(path: str | os.PathLike[str], *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The content of a regular file, or of the regular file that a link leads to.

    Raises:
        ImageProblem: If it cannot be read, is no regular file, is empty, or is over `max_bytes`.
    """
    name = os.fspath(path)
    try:
        descriptor = os.open(name, _OPEN_FLAGS)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ImageProblem(ProblemKind.SPECIAL_FILE, name, "not a regular file")
            if status.st_size > max_bytes:
                raise _too_many_bytes(name, max_bytes)
            # The reported size may be wrong, or the file may be growing.
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise ImageProblem(ProblemKind.UNREADABLE, name, error.strerror or str(error)) from error
    if len(content) > max_bytes:
        raise _too_many_bytes(name, max_bytes)
    if not content:
        raise ImageProblem(ProblemKind.EMPTY_FILE, name, "zero bytes")
    return content


def open_checked(
    file: str | os.PathLike[str] | IO[bytes],
    *,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
) -> Image.Image:
    """The first picture of an image file, fully decoded, as the file stores it.

    The content decides the format, not the name: JPEG (the first picture of an MPO), PNG, WebP,
    GIF, BMP, TIFF, AVIF if Pillow supports it, HEIC if pillow-heif is installed. The size is
    checked from the header, before memory for pixels is allocated. A truncated file is refused,
    unless Pillow's global `LOAD_TRUNCATED_IMAGES` is set. Pillow's own limit and its global warning
    about it have no effect. Pillow's warnings about odd metadata are passed on as warnings; if
    warnings are errors, such a file is refused. Thread-safe.

    Args:
        file: A path, or an open binary file, read from its current position.
        max_pixels: Width times height of the largest picture.
        name: Name of the file in errors; by default its path.

    Raises:
        ImageProblem: If the file is refused.
    """
    if isinstance(file, str | os.PathLike):
        name = os.fspath(file) if name is None else name
        content = read_bytes(file)
    else:
        name = "<file>" if name is None else name
        content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise _too_many_bytes(name, MAX_FILE_BYTES)
    return decode(content, name, max_pixels=max_pixels)


class PixelBuffer:
    """Reusable memory for one decoded picture: new memory takes a tenth of the decoding time."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def take(self, *shape: int) -> UInt8[np.ndarray, "..."]:
        """An array that is valid until the next call."""
        size = math.prod(shape)
        if size > len(self._bytes):
            # The old array is freed first, because both together would raise the peak of memory.
            self._bytes = np.empty(0, np.uint8)
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size].reshape(shape)


def decode(
    content: bytes, name: str, *, max_pixels: int = MAX_PIXELS, buffer: PixelBuffer | None = None
) -> Image.Image:
    """Decode the bytes of a file as `open_checked` does; errors call the file `name`.

    If a `buffer` is given, a JPEG may be decoded into it as RGBX; the picture is then valid until
    the buffer is used again.

    Raises:
        ImageProblem: If the file is refused.
    """
    if not content:
        raise ImageProblem(ProblemKind.EMPTY_FILE, name, "zero bytes")
    image_format = sniff(content[:_SIGNATURE_BYTES])
    if image_format is None:
        raise ImageProblem(ProblemKind.NOT_AN_IMAGE, name, "no known picture format")
    reader = _reader(image_format, name)
    if image_format == "WebP":
        # Pillow's decoder allocates memory for the canvas as soon as it is created.
        _check_size(_webp_size(content), name, max_pixels)
    image = _with_image_problems(lambda: reader(BytesIO(content)), image_format, name)
    _check_size(image.size, name, max_pixels)
    _check_size(_tile_size(image), name, max_pixels)
    if image.mode not in _MODES:
        raise ImageProblem(ProblemKind.UNSUPPORTED, name, f"colour mode {image.mode}")
    if buffer is not None and image_format == "JPEG" and image.mode == "RGB":
        fast = _decode_jpeg(content, image, buffer)
        if fast is not None:
            return fast
    _with_image_problems(image.load, image_format, name)
    return image


def _decode_jpeg(content: bytes, header: Image.Image, buffer: PixelBuffer) -> Image.Image | None:
    """Decode to RGBX with libjpeg-turbo directly; `None` if Pillow must decode the file.

    Pillow uses the same library and gives the same pixels. This takes four fifths of its time,
    because Pillow fills its own memory from a second buffer, part by part.
    """
    import simplejpeg

    width, height = header.size
    try:
        if simplejpeg.decode_jpeg_header(content)[:2] != (height, width):
            return None
        pixels = buffer.take(height, width, 4)
        simplejpeg.decode_jpeg(content, "RGBX", buffer=pixels)
    except (ValueError, MemoryError):
        # Pillow decides about all unusual files, even about those that could be decoded.
        return None
    image = Image.frombuffer("RGBX", (width, height), pixels, "raw", "RGBX", 0, 1)
    image.info = header.info
    return image


def to_rgb(image: Image.Image, *, upright: bool) -> Image.Image:
    """A decoded picture of any mode that `open_checked` accepts, as 8-bit RGB.

    16-bit gray is scaled to 8 bits (65535 becomes 255), but Pillow's own conversion clips it to
    white. Mode `I` is treated as 16 bits too. Floating-point gray is taken as [0, 1] if no value
    exceeds 1, else as [0, 255]; NaN is black.

    Args:
        image: The picture; it is not changed.
        upright: False reproduces the study's loaders, Pillow's `convert("RGB")`: the EXIF
            orientation is ignored, and transparency is dropped, which shows the colour under it.
            True applies the orientation (damaged EXIF counts as none) and puts transparent pictures
            on white. Pillow itself applies the orientation of TIFF files in any case.
    """
    return to_rgbx(image, upright=upright).convert("RGB")


def to_rgbx(image: Image.Image, *, upright: bool) -> Image.Image:
    """`to_rgb`, but the result may be RGBX, so that a decoded photo is not copied."""
    is_plain = image.mode in ("RGB", "RGBX") and "transparency" not in image.info
    rgb = image if is_plain else _to_eight_bit_rgb(image, on_white=upright)
    transpose = _UPRIGHT_TRANSPOSE.get(_orientation(image)) if upright else None
    return rgb if transpose is None else rgb.transpose(transpose)


def _too_many_bytes(name: str, max_bytes: int) -> ImageProblem:
    return ImageProblem(ProblemKind.TOO_LARGE, name, f"more than {max_bytes:,} bytes")


def sniff(start: bytes) -> str | None:
    """The format of a picture by its first 16 bytes; None if it is unknown."""
    for signature, image_format in _SIGNATURES:
        if start.startswith(signature):
            return image_format
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    if start[4:8] == b"ftyp":
        brand = start[8:12]
        return "AVIF" if brand in _AVIF_BRANDS else "HEIC" if brand in _HEIC_BRANDS else None
    return None


def _reader(image_format: str, name: str) -> Callable[[IO[bytes]], ImageFile.ImageFile]:
    # The plug-in classes directly, because `Image.open` would check the size against a global limit
    # and warn, and because the formats it accepts depend on plug-ins that other code registers.
    module_name, class_name = _READERS[image_format]
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        detail = f"{image_format}, which needs {module_name}"
        raise ImageProblem(ProblemKind.NO_DECODER, name, detail) from error
    if not getattr(module, "SUPPORTED", True):
        raise ImageProblem(
            ProblemKind.NO_DECODER, name, f"{image_format}, which this Pillow does not support"
        )
    reader: Callable[[IO[bytes]], ImageFile.ImageFile] = getattr(module, class_name)
    return reader


def _with_image_problems(step: Callable[[], _T], image_format: str, name: str) -> _T:
    try:
        return step()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageProblem(ProblemKind.TOO_LARGE, name, str(error)) from error
    except MemoryError as error:
        raise ImageProblem(ProblemKind.TOO_LARGE, name, "not enough memory to decode it") from error
    except Exception as error:
        # Malicious bytes make the plug-ins raise more kinds of errors than are documented.
        detail = f"{image_format}: {error or type(error).__name__}"
        raise ImageProblem(ProblemKind.DAMAGED, name, detail) from error


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        detail = f"{width} × {height} pixels, more than {max_pixels:,}"
        raise ImageProblem(ProblemKind.TOO_LARGE, name, detail)


def _webp_size(content: bytes) -> tuple[int, int]:
    """Width and height from a WebP's header (RFC 9649), or (0, 0) if there is none."""
    header = content[:30].ljust(30, b"\0")
    if header[12:16] == b"VP8X":
        width, height = header[24:27], header[27:30]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if header[12:16] == b"VP8L":
        bits = int.from_bytes(header[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if header[12:16] == b"VP8 ":
        width, height = header[26:28], header[28:30]
        return int.from_bytes(width, "little") & 0x3FFF, int.from_bytes(height, "little") & 0x3FFF
    return 0, 0


def _tile_size(image: Image.Image) -> tuple[int, int]:
    """Tile size of a TIFF: tiles may exceed the picture, and are decoded one at a time."""
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(322, 0), tags.get(323, 0)
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - as in `_with_image_problems`; unreadable EXIF is ignored
        return 1
    return orientation if isinstance(orientation, int) else 1


def _to_eight_bit_rgb(image: Image.Image, *, on_white: bool) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(_float_to_eight_bits(np.asarray(image))).convert("RGB")
    if on_white and image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    if "transparency" in image.info:
        # Pillow warns that a palette's transparency is lost, which is intended here.
        image = image.copy()
        del image.info["transparency"]
    return image.convert("RGB")


def _eight_bits(
    gray: Integer[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width"]:
    rounded = (np.clip(gray, 0, 65535).astype(np.uint32) + 128) // 257
    return np.asarray(rounded, np.uint8)


def _float_to_eight_bits(
    gray: Float32[np.ndarray, "height width"],
) -> UInt8[np.ndarray, "height width"]:
    finite = np.nan_to_num(gray, nan=0.0)
    scale = 255 if finite.max() <= 1 else 1
    return np.asarray(np.clip(finite * scale, 0, 255) + 0.5, np.uint8)
