"""Image files of every kind: which are decoded, which are refused, and the memory they take."""

import io
import os
import socket
import subprocess
import sys
import tracemalloc
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import AvifImagePlugin, BmpImagePlugin, ExifTags, Image

from chifoumi_jax.data import decode as decode_module
from chifoumi_jax.data.decode import PixelBuffer, decode, open_checked, read_bytes, to_rgb
from chifoumi_jax.data.pixels import Layout, resize_pixels
from chifoumi_jax.data.problems import MEANINGS, ImageProblem, ProblemKind
from tests.photos import FORMATS, SIZE, bomb, claims, encode, photo, picture, tiff

LAYOUTS: tuple[Layout, ...] = ("keras", "torch")
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100


def refusal(content: bytes, **options: Any) -> ImageProblem:
    with pytest.raises(ImageProblem) as caught:
        decode(content, "hand.jpg", **options)
    return caught.value


@pytest.mark.parametrize("suffix", FORMATS)
def test_pixels_equal_those_of_pillows_image_open(suffix: str) -> None:
    content = photo(1, suffix)
    with Image.open(io.BytesIO(content)) as expected:
        np.testing.assert_array_equal(decode(content, ""), expected)


@pytest.mark.parametrize("suffix", FORMATS)
def test_paths_and_open_files_are_accepted(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "né 手.JPG"
    path.write_bytes(photo(1, suffix))
    expected = np.asarray(decode(path.read_bytes(), ""))
    np.testing.assert_array_equal(open_checked(path), expected)
    np.testing.assert_array_equal(open_checked(str(path)), expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(open_checked(file), expected)


@pytest.mark.parametrize("suffix", ["png", "lossless.webp", "bmp", "tif", "lzw.tif"])
def test_lossless_pixels_equal_those_written(suffix: str) -> None:
    np.testing.assert_array_equal(decode(photo(1, suffix), ""), picture(1))


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_a_file_with_several_pictures_gives_the_first(name: str) -> None:
    size = (64, 48)
    frames = [Image.new("RGB", size, colour) for colour in ("red", "lime", "blue")]
    content = encode(frames[0], format=name, save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(content)) as image:
        assert getattr(image, "n_frames", 1) == 3
    colour = np.asarray(to_rgb(decode(content, ""), upright=True)).reshape(-1, 3).mean(0)
    np.testing.assert_allclose(colour, [255, 0, 0], atol=3)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_file_is_refused_or_loses_no_pixel(suffix: str) -> None:
    content = photo(1, suffix)
    whole = np.asarray(decode(content, ""))
    refused = 0
    for length in range(0, len(content), 7 if suffix == "avif" else 2):
        try:
            image = decode(content[:length], "")
        except ImageProblem as problem:
            refused += 1
            assert problem.kind in {
                ProblemKind.EMPTY_FILE,
                ProblemKind.NOT_AN_IMAGE,
                ProblemKind.DAMAGED,
            }
        else:
            np.testing.assert_array_equal(image, whole)
    assert refused > 0


@pytest.mark.parametrize("suffix", FORMATS)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_flipped_bits_give_a_picture_or_a_problem(suffix: str, data: st.DataObject) -> None:
    content = bytearray(photo(1, suffix))
    flips = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 7))
    for index, bit in data.draw(st.lists(flips, min_size=1, max_size=4)):
        content[index] ^= 1 << bit
    try:
        image = decode(bytes(content), "", max_pixels=10**6)
    except ImageProblem as problem:
        assert problem.detail
    else:
        for upright in (False, True):
            assert to_rgb(image, upright=upright).mode == "RGB"


@settings(deadline=None)
@given(
    content=st.binary(min_size=1), start=st.sampled_from([b"", b"\xff\xd8\xff", b"BM", b"II*\0"])
)
def test_random_bytes_give_a_problem(content: bytes, start: bytes) -> None:
    assert refusal(start + content).kind in {
        ProblemKind.NOT_AN_IMAGE,
        ProblemKind.DAMAGED,
        ProblemKind.TOO_LARGE,
    }


def test_the_message_has_the_file_the_problem_and_the_remedy() -> None:
    problem = refusal(photo(1, "jpg")[:-30])
    assert problem.kind is ProblemKind.DAMAGED
    assert str(problem).startswith("hand.jpg: JPEG: ")
    assert "truncated" in str(problem)
    assert MEANINGS[ProblemKind.DAMAGED].remedy in str(problem)


def test_other_files_are_not_images() -> None:
    for content in (
        b"some text\n",
        b"%PDF-1.7",
        b"PK\3\4",
        b"8BPS\0\1",
        b"<svg></svg>",
        b"\0" * 64,
    ):
        assert refusal(content).kind is ProblemKind.NOT_AN_IMAGE
    assert refusal(b"").kind is ProblemKind.EMPTY_FILE


def test_an_unlisted_format_is_refused_although_pillow_reads_it() -> None:
    content = encode(picture(), format="PPM")
    Image.open(io.BytesIO(content)).load()
    assert refusal(content).kind is ProblemKind.NOT_AN_IMAGE


def test_an_odd_colour_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "_MODES", frozenset({"L"}))
    problem = refusal(photo())
    assert (problem.kind, problem.detail) == (ProblemKind.UNSUPPORTED, "colour mode RGB")


# Sizes and memory


def test_the_limit_on_pixels_is_exact() -> None:
    pixels = SIZE[0] * SIZE[1]
    for suffix in FORMATS:
        decode(photo(0, suffix), "", max_pixels=pixels)
        assert refusal(photo(0, suffix), max_pixels=pixels - 1).kind is ProblemKind.TOO_LARGE


@pytest.mark.parametrize("suffix", sorted({*FORMATS} - {"tif", "lzw.tif"}))
def test_pillows_global_limit_has_no_effect(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = photo(0, suffix)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    with pytest.raises(Image.DecompressionBombWarning):
        Image.open(io.BytesIO(content))
    decode(content, "")


def test_pillows_decompression_bomb_error_becomes_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    assert refusal(photo(0, "tif")).kind is ProblemKind.TOO_LARGE


@pytest.mark.parametrize(
    ("chunk", "options"),
    [(b"VP8 ", {}), (b"VP8L", {"lossless": True}), (b"VP8X", {"icc_profile": b"x"})],
)
@pytest.mark.parametrize("size", [(1, 1), (16, 12), (300, 2), (2, 16383)])
def test_the_size_is_read_from_a_webps_header(
    size: tuple[int, int], chunk: bytes, options: dict[str, Any]
) -> None:
    content = encode(Image.new("RGB", size), format="WEBP", **options)
    assert content[12:16] == chunk
    assert decode_module._webp_size(content) == size


def test_the_tile_size_of_a_tiff_is_limited_too() -> None:
    tags = {256: 16, 257: 16, 322: 60_000, 323: 60_000, 324: 8, 325: 8}
    problem = refusal(tiff(tags))
    assert problem.kind is ProblemKind.TOO_LARGE
    assert "60000 × 60000" in problem.detail


def test_lack_of_memory_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr(BmpImagePlugin.BmpImageFile, "load", fail)
    assert refusal(photo(0, "bmp")).kind is ProblemKind.TOO_LARGE


MEASURE = """
import resource, sys
from pathlib import Path
from chifoumi_jax.data.decode import decode
from chifoumi_jax.data.problems import ImageProblem

folder = Path(sys.argv[1])
small = folder / "small"
for file in sorted(small.iterdir()):
    decode(file.read_bytes(), "")  # loads the plug-ins
virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
allowed = virtual + 128 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
for file in sorted((folder / "large").iterdir()):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        decode(file.read_bytes(), "", max_pixels=int(sys.argv[2]))
    except ImageProblem as problem:
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(file.name, problem.kind, grown, problem.detail, sep="|")
"""


def measure(folder: Path, max_pixels: int) -> dict[str, tuple[str, int, str]]:
    """For each refused file: its problem, the growth of peak memory in KiB, and the detail."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), str(max_pixels)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
        check=True,
        capture_output=True,
        text=True,
    )
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return {name: (kind, int(grown), detail) for name, kind, grown, detail in rows}


@pytest.mark.skipif(
    sys.platform != "linux", reason="the memory limit and its measurement need Linux"
)
def test_bombs_are_refused_before_memory_is_allocated(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "large").mkdir()
    for suffix in FORMATS:
        (tmp_path / "small" / suffix).write_bytes(photo(0, suffix))
    files = claims(60_000, 60_000) | {"bomb.png": bomb()}
    for name, content in files.items():
        assert len(content) < (100_000 if name == "bomb.png" else 200)
        (tmp_path / "large" / name).write_bytes(content)
    refused = measure(tmp_path, decode_module.MAX_PIXELS)
    assert refused.keys() == files.keys()
    for kind, grown, detail in refused.values():
        assert kind == ProblemKind.TOO_LARGE
        assert "pixels, more than" in detail
        assert grown < 4096
    # With a higher limit the same bomb does exhaust the memory of the process.
    assert measure(tmp_path, 10**10)["bomb.png"][2] == "not enough memory to decode it"


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)
    tracemalloc.start()
    try:
        for refuse in (read_bytes, open_checked):
            with pytest.raises(ImageProblem, match="more than 536,870,910 bytes"):
                refuse(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    path.write_bytes(b"12345")
    assert read_bytes(path, max_bytes=5) == b"12345"
    with pytest.raises(ImageProblem) as caught:
        read_bytes(path, max_bytes=4)
    assert caught.value.kind is ProblemKind.TOO_LARGE


def test_a_file_larger_than_its_reported_size_is_not_read_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "grows.jpg"
    path.write_bytes(b"12345")
    shown = os.stat_result((0o100644, 0, 0, 1, 0, 0, 1, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda descriptor: shown)
    with pytest.raises(ImageProblem, match="more than 4 bytes"):
        read_bytes(path, max_bytes=4)


def test_an_open_file_has_the_same_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "MAX_FILE_BYTES", 100)
    with pytest.raises(ImageProblem, match="more than 100 bytes"):
        open_checked(io.BytesIO(b"\xff\xd8\xff" * 100))


# Files that are not regular


def test_pipes_sockets_devices_and_folders_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        with pytest.raises(ImageProblem) as caught:
            read_bytes(path)
        assert caught.value.kind is ProblemKind.SPECIAL_FILE
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.jpg"))
        with pytest.raises(ImageProblem) as caught:
            read_bytes(tmp_path / "s.jpg")
    assert caught.value.kind is ProblemKind.UNREADABLE
    with pytest.raises(ImageProblem):
        read_bytes(tmp_path)


def test_a_missing_file_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageProblem, match="No such file") as caught:
        open_checked(tmp_path / "none.jpg")
    assert caught.value.kind is ProblemKind.UNREADABLE
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ImageProblem) as caught:
        open_checked(tmp_path / "empty.jpg")
    assert caught.value.kind is ProblemKind.EMPTY_FILE


# Formats that need more than Pillow


def test_heic_without_pillow_heif_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    problem = refusal(HEIC)
    assert problem.kind is ProblemKind.NO_DECODER
    assert "pip install pillow-heif" in str(problem)


def test_heic_is_decoded_by_pillow_heif_if_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeHeif(BmpImagePlugin.BmpImageFile):
        def _open(self) -> None:
            assert self.fp is not None and self.fp.read() == HEIC
            self.fp = io.BytesIO(photo(3, "bmp"))
            super()._open()

    module = types.ModuleType("pillow_heif")
    module.HeifImageFile = FakeHeif  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    np.testing.assert_array_equal(decode(HEIC, ""), picture(3))


def test_a_real_heic_file_is_decoded() -> None:
    heif = pytest.importorskip(
        "pillow_heif", reason="pillow-heif (the extra heic) is not installed"
    )
    flat = Image.new("RGB", (64, 48), (200, 100, 50))
    file = io.BytesIO()
    heif.from_pillow(flat).save(file, quality=90)
    image = to_rgb(decode(file.getvalue(), ""), upright=True)
    assert image.size == (64, 48)
    np.testing.assert_allclose(np.asarray(image)[24, 32], (200, 100, 50), atol=6)
    assert refusal(file.getvalue(), max_pixels=64 * 48 - 1).kind is ProblemKind.TOO_LARGE
    assert refusal(file.getvalue()[:-20]).kind is ProblemKind.DAMAGED


def test_avif_is_refused_if_pillow_does_not_support_it(monkeypatch: pytest.MonkeyPatch) -> None:
    content = photo(0, "avif")
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    problem = refusal(content)
    assert problem.kind is ProblemKind.NO_DECODER
    assert "upgrade pillow" in str(problem)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (17, 31), (64, 48), (301, 7)])
def test_fast_jpeg_decoding_gives_pillows_pixels(
    size: tuple[int, int], progressive: bool, subsampling: str
) -> None:
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).resize(size)
    options = {"quality": 80, "progressive": progressive, "subsampling": subsampling}
    content = saved(coarse, restart_marker_rows=1, **options)
    fast = decode(content, "", buffer=PixelBuffer())
    assert fast.mode == "RGBX", "the fast decoder was not used"
    slow = decode(content, "")
    np.testing.assert_array_equal(np.asarray(fast)[..., :3], slow)
    np.testing.assert_array_equal(to_rgb(fast, upright=True), slow)
    for layout in LAYOUTS:
        np.testing.assert_array_equal(
            resize_pixels(fast, 8, layout), resize_pixels(slow, 8, layout)
        )


def test_fast_jpeg_decoding_keeps_the_orientation() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    fast = decode(saved(Image.new("RGB", (20, 10), "red"), exif=exif), "", buffer=PixelBuffer())
    assert fast.mode == "RGBX"
    assert to_rgb(fast, upright=True).size == (10, 20)
    assert to_rgb(fast, upright=False).size == (20, 10)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_jpegs_are_decoded_by_pillow(mode: str) -> None:
    assert decode(saved(Image.new(mode, (20, 10))), "", buffer=PixelBuffer()).mode == mode


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_damaged_jpegs_give_the_same_result_as_with_pillow(seed: int, changes: int) -> None:
    random = np.random.default_rng(seed)
    content = bytearray(photo(1, "jpg"))
    for place in random.integers(2, len(content), changes):
        content[place] = random.integers(256)
    if seed % 2:
        del content[random.integers(2, len(content)) :]

    def result(buffer: PixelBuffer | None) -> tuple[str, object]:
        try:
            return "good", np.asarray(decode(bytes(content), "", buffer=buffer).convert("RGB"))
        except ImageProblem as problem:
            return problem.kind, None

    (fast, ours), (slow, theirs) = result(PixelBuffer()), result(None)
    assert fast == slow
    np.testing.assert_array_equal(ours, theirs)


def test_a_pixel_buffer_reuses_its_memory() -> None:
    buffer = PixelBuffer()
    first = buffer.take(40, 30, 4)
    assert np.shares_memory(first, buffer.take(20, 10, 4))
    assert buffer.take(50, 30, 4).shape == (50, 30, 4)


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()
