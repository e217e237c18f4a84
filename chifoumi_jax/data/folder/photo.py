"""One good photo of a folder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Photo:
    """A file that can be decoded.

    Attributes:
        path: Path relative to the scanned folder, with `/`; bytes that are not UTF-8 are
            surrogate-escaped.
        label: Index of its class.
        sha256: SHA-256 of the file's bytes, hexadecimal.
        width: Width of the stored picture in pixels, before the EXIF orientation is applied.
        height: Height, likewise.
    """

    path: str
    label: int
    sha256: str
    width: int
    height: int
