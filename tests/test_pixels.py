"""The study's pixels, compared with its own software on raw (never JPEG-decoded) images."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chifoumi_jax.data.pixels import Layout, load_pixels, resize_pixels

BANDS = {"RGB": 3, "L": 1, "P": 1, "LA": 2, "RGBA": 4, "CMYK": 4, "1": 1}

# (mode, width, height, size): the first 16 hex digits of the SHA-256 of the pixels from
# `keras_preprocessing.image.load_img(path, target_size=(size, size))`, and of those from
# `Compose([Resize((size, size)), Grayscale()])` after `pil_loader`, for a lossless file.
# Made with Pillow 5.3.0, keras-preprocessing 1.0.5, torchvision 0.2.1, numpy 1.15.4, Python 3.6.15.
STUDY = {
    ("RGB", 558, 414, 600): ("d82a8c8330dd81df", "cad69703d93f8d9e"),
    ("RGB", 414, 558, 150): ("c4b52bdd5d57a197", "4b6053662cb6fdd3"),
    ("RGB", 600, 600, 600): ("ebd6ae111f8159ad", "f3e002bc9345e690"),
    ("RGB", 97, 301, 32): ("bca643725c646638", "203925e932d5f00f"),
    ("RGB", 301, 97, 32): ("0cd153a606417851", "44823805c81d49f9"),
    ("RGB", 5, 150, 7): ("9a270096d26700c2", "29479497cdeba8ba"),
    ("RGB", 1, 1, 33): ("dabaf83eb612f378", "55bf3929ec2ebcb4"),
    ("RGB", 32, 31, 32): ("5494a1accc7ef9aa", "a5422b8f200a10af"),
    ("RGB", 1023, 33, 300): ("7c3beabba7c8399e", "b86a95633cad6631"),
    ("L", 97, 301, 32): ("e40683b2af594acc", "c114004434601ab2"),
    ("1", 97, 301, 32): ("2206b8d3dc41cd12", "3b7c1c1457701246"),
    ("P", 97, 301, 32): ("46fdc0ceab05809b", "81c9f160136296b2"),
    ("LA", 97, 301, 32): ("8c686a5d1a1cf94b", "60450a814095bde9"),
    ("RGBA", 97, 301, 32): ("5cfc10dac20a881e", "c99431b054eb70ef"),
    ("CMYK", 97, 301, 32): ("155a4225f0f1dfc5", "7ee590c562c1976b"),
}


def noise(mode: str, width: int, height: int) -> Image.Image:
    """The image that the 2018 environment made from the same seed."""
    random = np.random.RandomState(0)
    data = random.bytes(width * height * BANDS[mode])
    if mode == "1":
        gray = Image.frombytes("L", (width, height), data)
        return gray.point([0] * 128 + [255] * 128).convert("1")
    image = Image.frombytes(mode, (width, height), data)
    if mode == "P":
        image.putpalette(random.bytes(768))
    return image


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("case", STUDY, ids=lambda case: "-".join(map(str, case)))
def test_pixels_equal_the_studys_software(case: tuple[str, int, int, int]) -> None:
    mode, width, height, size = case
    image = noise(mode, width, height)
    keras = resize_pixels(image, size, "keras")
    torch = resize_pixels(image, size, "torch")
    assert keras.dtype == torch.dtype == np.uint8
    assert keras.shape == (size, size, 3)
    assert torch.shape == (size, size)
    assert (digest(keras), digest(torch)) == STUDY[case]


def nearest_source(length: int, size: int) -> np.ndarray:
    """The source index of each target pixel by the rule of Pillow 5.3's `ImagingScaleAffine`."""
    step = length / size
    position = step / 2
    indices = []
    for _ in range(size):
        indices.append(int(position))
        position += step
    return np.array(indices)


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(1, 20_000),
    height=st.integers(1, 64),
    size=st.sampled_from([1, 2, 7, 32, 150, 224, 299, 600, 601]),
)
def test_nearest_neighbour_accumulates_the_source_index(width: int, height: int, size: int) -> None:
    count = width * height
    number = np.arange(count, dtype=np.uint32).view(np.uint8).reshape(height, width, 4)[..., :3]
    rows, columns = nearest_source(height, size), nearest_source(width, size)
    got = resize_pixels(Image.fromarray(number), size)
    np.testing.assert_array_equal(got, number[rows[:, None], columns])


def test_conversion_to_gray_truncates() -> None:
    # 2 * 0.299 = 0.598, which later versions of Pillow round to 1.
    dark_red = Image.new("RGB", (4, 4), (2, 0, 0))
    np.testing.assert_array_equal(resize_pixels(dark_red, 2, "torch"), 0)


@pytest.mark.parametrize("layout", ["keras", "torch"])
def test_a_file_and_its_decoded_image_give_the_same_pixels(tmp_path: Path, layout: Layout) -> None:
    path = tmp_path / "photo.png"
    image = noise("RGB", 61, 40)
    image.save(path)
    np.testing.assert_array_equal(
        load_pixels(path, 32, layout), resize_pixels(image, 32, layout), strict=True
    )


def test_upright_applies_the_exif_orientation(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    image = noise("RGB", 61, 40)
    image.save(path, exif=exif)
    turned = image.transpose(Image.Transpose.ROTATE_270)
    as_stored, upright = load_pixels(path, 32), load_pixels(path, 32, upright=True)
    np.testing.assert_array_equal(as_stored, resize_pixels(image, 32))
    np.testing.assert_array_equal(upright, resize_pixels(turned, 32))
    assert (as_stored != upright).any()


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size must be at least 1 pixel, not {size}"):
        resize_pixels(noise("RGB", 4, 4), size)
    with pytest.raises(ValueError, match="size must be at least 1 pixel"):
        load_pixels("missing.png", size)


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(ValueError, match='layout must be "keras" or "torch" or "rgb", not "caffe"'):
        resize_pixels(noise("RGB", 4, 4), 4, "caffe")  # type: ignore[arg-type]
