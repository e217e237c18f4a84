"""One good photo of a folder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Photo:
    """A file that decodes.

    Attributes:
        path: Relative to the scanned folder, with `/`. What no UTF-8 can say is surrogate-escaped.
        label: Index of its class.
        sha256: Of the file's bytes, hexadecimal.
        width: Of the stored picture (EXIF's orientation not applied), in pixels.
        height: Likewise.
    """

    path: str
    label: int
    sha256: str
    width: int
    height: int
