"""Conversion of every mode to RGB, upright and as in the study's loaders."""

import struct

import numpy as np
import pytest
from PIL import Image

from chifoumi_jax.data.decode import decode, to_rgb
from tests.photos import encode, photo, picture


def rgb(image: Image.Image, *, upright: bool = True) -> np.ndarray:
    result = to_rgb(image, upright=upright)
    assert result.mode == "RGB"
    return np.asarray(result)


def through_file(image: Image.Image, suffix: str, **options: object) -> Image.Image:
    return decode(encode(image, format=suffix, **options), "")


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_opaque_modes_keep_their_colours(mode: str, upright: bool) -> None:
    image = picture(mode=mode)
    decoded = through_file(image, "PNG")
    assert decoded.mode == mode
    np.testing.assert_array_equal(rgb(decoded, upright=upright), image.convert("RGB"))


def test_cmyk_is_not_inverted() -> None:
    decoded = through_file(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    assert decoded.mode == "CMYK"
    np.testing.assert_allclose(rgb(decoded)[8, 8], (255, 0, 0), atol=3)


def rare_whites() -> dict[str, Image.Image]:
    palette = Image.new("PA", (4, 3), (1, 255))
    palette.putpalette([0, 0, 0, 255, 255, 255])
    return {
        "YCbCr": Image.new("YCbCr", (4, 3), (255, 128, 128)),
        "LAB": Image.new("LAB", (4, 3), (255, 128, 128)),
        "RGBX": Image.new("RGBX", (4, 3), (255, 255, 255, 0)),
        "RGBa": Image.new("RGBA", (4, 3), "white").convert("RGBa"),
        "PA": palette,
    }


@pytest.mark.parametrize("mode", rare_whites())
def test_rare_modes_are_converted_to_rgb(mode: str) -> None:
    image = rare_whites()[mode]
    assert image.mode == mode
    for upright in (False, True):
        np.testing.assert_allclose(rgb(image, upright=upright), 255, atol=2)


@pytest.mark.parametrize("suffix", ["PNG", "TIFF"])
def test_16_bit_values_are_scaled_and_not_clipped(suffix: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    decoded = through_file(Image.fromarray(values), suffix)
    assert decoded.mode.startswith("I;16")
    for upright in (False, True):
        gray = rgb(decoded, upright=upright)
        np.testing.assert_array_equal(gray[0, :, 0], [0, 0, 1, 1, 128, 254, 255, 255])
        assert (gray == gray[..., :1]).all()


def test_8_bit_values_are_kept_by_16_bit_files() -> None:
    values = np.arange(256, dtype=np.uint16)[None] * 257
    for image in (
        Image.fromarray(values),
        Image.fromarray(values.astype(np.int32)),
        Image.frombytes("I;16B", (256, 1), values.astype(">u2").tobytes()),
    ):
        np.testing.assert_array_equal(rgb(image)[0, :, 0], np.arange(256))


def test_32_bit_integers_outside_16_bits_are_clipped() -> None:
    image = Image.fromarray(np.array([[-5, 0, 65535, 2**31 - 1]], np.int32))
    np.testing.assert_array_equal(rgb(image)[0, :, 0], [0, 0, 255, 255])


def test_floats_are_scaled_by_their_range() -> None:
    unit = np.array([[0, 0.5, 1, -1, np.nan]], np.float32)
    np.testing.assert_array_equal(rgb(Image.fromarray(unit))[0, :, 0], [0, 128, 255, 0, 0])
    wide = np.array([[0, 0.5, 100.2, 255, np.inf, -np.inf]], np.float32)
    decoded = through_file(Image.fromarray(wide), "TIFF")
    assert decoded.mode == "F"
    np.testing.assert_array_equal(rgb(decoded)[0, :, 0], [0, 1, 100, 255, 255, 0])


def transparent_files() -> dict[str, bytes]:
    """Red under a transparent pixel, beside opaque blue."""
    rgba = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    rgba.putpixel((1, 0), (0, 0, 255, 255))
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    rgb = rgba.convert("RGB")
    return {
        "rgba": encode(rgba, format="PNG"),
        "palette with an index": encode(palette, format="PNG", transparency=0),
        "palette with bytes": encode(palette, format="PNG", transparency=b"\0\xff"),
        "gif": encode(palette, format="GIF", transparency=0),
        "rgb with a colour": encode(rgb, format="PNG", transparency=(255, 0, 0)),
        "tiff": encode(rgba, format="TIFF"),
        "webp": encode(rgba, format="WEBP", lossless=True, exact=True),
    }


@pytest.mark.parametrize("name", transparent_files())
def test_transparency_is_put_on_white_or_dropped(name: str) -> None:
    image = decode(transparent_files()[name], name)
    before = dict(image.info)
    assert rgb(image, upright=True).tolist() == [[[255, 255, 255], [0, 0, 255]]]
    assert rgb(image, upright=False).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert image.info == before


def test_gray_with_alpha_is_converted() -> None:
    image = through_file(Image.new("LA", (2, 1), (100, 128)), "PNG")
    assert image.mode == "LA"
    np.testing.assert_array_equal(rgb(image, upright=False), np.full((1, 2, 3), 100))
    np.testing.assert_allclose(rgb(image), 255 - 155 * 128 / 255, atol=1)


def test_premultiplied_colours_are_divided_by_alpha() -> None:
    image = Image.new("RGBA", (1, 1), (200, 100, 50, 128)).convert("RGBa")
    np.testing.assert_allclose(rgb(image, upright=False), [[[200, 100, 50]]], atol=2)


# The stored picture as a function of the upright picture: Exif 2.32, tag 0x0112.
STORED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def with_orientation(image: Image.Image, suffix: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, format=suffix, exif=exif, **options)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_if_upright(orientation: int, suffix: str) -> None:
    upright = np.asarray(picture(5))
    stored = np.ascontiguousarray(STORED[orientation](upright))
    options = {"lossless": True} if suffix == "WEBP" else {}
    content = with_orientation(Image.fromarray(stored), suffix, orientation, **options)
    np.testing.assert_array_equal(rgb(decode(content, "")), upright)
    if suffix != "TIFF":
        np.testing.assert_array_equal(rgb(decode(content, ""), upright=False), stored)


@pytest.mark.parametrize("mode", ["L", "1", "P", "I;16", "LA", "CMYK"])
def test_orientation_is_applied_in_every_mode(mode: str) -> None:
    image = (
        picture(5).convert("L").convert("I").convert(mode) if mode == "I;16" else picture(mode=mode)
    )
    suffix = "JPEG" if mode == "CMYK" else "PNG"
    turned = decode(with_orientation(image, suffix, 6), "")
    straight = decode(with_orientation(image, suffix, 1), "")
    np.testing.assert_array_equal(rgb(turned), np.rot90(rgb(straight), -1))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_is_ignored(orientation: int) -> None:
    content = with_orientation(picture(5), "PNG", orientation)
    np.testing.assert_array_equal(rgb(decode(content, "")), picture(5))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0nonsense",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0" + struct.pack("<IHHHI", 8, 500, 0x0112, 3, 2**31),
        b"Exif\0\0MM\0*" + struct.pack(">IHHHI", 8, 1, 0x0112, 5, 1) + b"\0\0",
    ],
)
def test_damaged_exif_is_ignored(exif: bytes) -> None:
    plain = photo(5, "jpg")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    content = plain[:2] + segment + plain[2:]
    np.testing.assert_array_equal(rgb(decode(content, "")), rgb(decode(plain, "")))


def test_the_picture_itself_is_not_changed() -> None:
    image = decode(with_orientation(picture(5), "PNG", 6), "")
    to_rgb(image, upright=True)
    np.testing.assert_array_equal(image, picture(5))
    assert image.getexif()[0x0112] == 6
