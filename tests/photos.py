"""Small pictures, good and bad, for the tests."""

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (16, 12)
# Pillow's options for each suffix; lossless formats return the same pixels.
FORMATS: dict[str, dict[str, Any]] = {
    "jpg": {"format": "JPEG"},
    "progressive.jpg": {"format": "JPEG", "progressive": True},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP"},
    "lossless.webp": {"format": "WEBP", "lossless": True},
    "gif": {"format": "GIF"},
    "bmp": {"format": "BMP"},
    "tif": {"format": "TIFF"},
    "lzw.tif": {"format": "TIFF", "compression": "tiff_lzw"},
    "avif": {"format": "AVIF"},
}


def picture(seed: int = 0, size: tuple[int, int] = SIZE, mode: str = "RGB") -> Image.Image:
    """Noise; different seeds give different bytes in every format."""
    width, height = size
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).convert(mode)


def encode(image: Image.Image, **options: Any) -> bytes:
    """The bytes of the file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, **options)
    return file.getvalue()


def photo(seed: int = 0, suffix: str = "png") -> bytes:
    """The bytes of a good file."""
    return encode(picture(seed), **FORMATS[suffix])


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below `root`, with their folders."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def good_folder(root: Path, classes: str = "abc", photos: int = 3, prefix: str = "") -> Path:
    """`photos` good photos in each class; all files differ, also between values of `prefix`."""
    first = sum(map(ord, prefix)) * 1000
    return write(
        root,
        {
            f"{prefix}{name}/{i}.png": photo(first + photos * k + i)
            for k, name in enumerate(classes)
            for i in range(photos)
        },
    )


def claims(width: int, height: int) -> dict[str, bytes]:
    """For each format a file of a few bytes whose header claims this size."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", ihdr) + _png_chunk(b"IDAT", b"x")
    sof = struct.pack(">BHHB", 8, height, width, 3) + bytes.fromhex("011100 021100 031100")
    sos = bytes.fromhex("03 0100 0200 0300 003f00")
    jpeg = b"\xff\xd8" + _jpeg_segment(0xC0, sof) + _jpeg_segment(0xDA, sos) + b"\0" * 40
    gif = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)
    gif += b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x08\x04\0\0\0\0\0;"
    bmp = b"BM" + struct.pack("<IHHI", 70, 0, 0, 54)
    bmp += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + b"\0" * 16
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    webp = b"VP8X" + struct.pack("<I", 10) + canvas + b"VP8L" + struct.pack("<I", 8) + b"\x2f" * 8
    return {
        "png": png,
        "jpg": jpeg,
        "gif": gif,
        "bmp": bmp,
        "tif": tiff({256: width, 257: height, 278: height, 273: 8, 279: 8}),
        "webp": b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp,
    }


def tiff(tags: Mapping[int, int]) -> bytes:
    """An LZW-compressed grayscale TIFF with these tags that consists of its header only."""
    entries = {258: 8, 259: 5, 262: 1, 277: 1} | dict(tags)
    directory = struct.pack("<H", len(entries))
    for tag in sorted(entries):
        directory += struct.pack("<HHII", tag, 4, 1, entries[tag])
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4)


def bomb() -> bytes:
    """A valid PNG of about 50 kB that decodes to 400 million pixels."""
    return encode(Image.new("1", (20_000, 20_000)), format="PNG", optimize=True)


def _png_chunk(name: bytes, content: bytes) -> bytes:
    import zlib

    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def _jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
