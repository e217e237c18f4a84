"""Which files are opened at all, and zip archives that are damaged or hostile."""

import io
import os
import socket
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chifoumi_jax.convert import WeightsError, from_keras, from_torch
from chifoumi_jax.convert.arrays import cnn_to_arrays
from chifoumi_jax.convert.untrusted.archive import unpacked
from chifoumi_jax.convert.untrusted.limits import (
    MAX_KERAS_BYTES,
    MAX_TORCH_BYTES,
    MAX_ZIP_DIRECTORY_BYTES,
    MAX_ZIP_ENTRIES,
)
from tests.weights import (
    assert_same_bits,
    cnn_arrays,
    write_keras,
    write_v3,
)

NAMES = ["x.keras", "x.h5", "x.weights.h5", "x.hdf5", "x.pt", "x.pth", "x.safetensors"]


def refusal(path: Path) -> str:
    load: Any = from_keras if path.suffix in (".keras", ".h5", ".hdf5") else from_torch
    with pytest.raises(WeightsError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_regular_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert refusal(path) == "No such file or directory"
    path.touch()
    assert refusal(path) == "it is empty"
    path.unlink()
    path.mkdir()
    assert refusal(path) == "Is a directory"
    path.rmdir()
    os.mkfifo(path)
    assert refusal(path) == "it is no regular file"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert refusal(path) == "it is no regular file"
    path.unlink()
    path.symlink_to(path)
    assert "symbolic links" in refusal(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert refusal(path) == "No such device or address"


def test_a_link_to_a_regular_file_is_followed(tmp_path: Path) -> None:
    write_v3(tmp_path / "data", cnn_arrays())
    (tmp_path / "x.weights.h5").symlink_to("data")
    assert_same_bits(cnn_to_arrays(from_keras(tmp_path / "x.weights.h5")), cnn_arrays())


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_too_large_is_not_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(2**40)
    limit = MAX_KERAS_BYTES if path.suffix in (".keras", ".h5", ".hdf5") else MAX_TORCH_BYTES
    assert refusal(path) == f"it has {2**40:,} bytes; more than {limit:,} are not read"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"\0", b"x" * 9, b"\x89PNG\r\n\x1a\n", b"\0" * 5_000])
def test_other_content(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert "its content is of no kind that is known here" in refusal(tmp_path / name)


def test_a_suffix_that_the_content_contradicts(tmp_path: Path) -> None:
    hdf5 = write_v3(tmp_path / "x.weights.h5", cnn_arrays()).read_bytes()
    archive = write_keras(tmp_path / "x.keras", cnn_arrays()).read_bytes()
    pickle = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    header = b"\x02\0\0\0\0\0\0\0{}"
    for name, content, found, expected in (
        ("a.keras", hdf5, "an HDF5 file", "a zip archive"),
        ("a.h5", archive, "a zip archive", "an HDF5 file"),
        ("a.weights.h5", header, "a safetensors file", "an HDF5 file"),
        ("a.pt", hdf5, "an HDF5 file", "a zip archive or a PyTorch file"),
        ("a.pth", header, "a safetensors file", "a zip archive or a PyTorch file"),
        ("a.safetensors", archive, "a zip archive", "a safetensors file"),
        ("b.safetensors", pickle, "a PyTorch file", "a safetensors file"),
        ("a.keras", pickle, "a PyTorch file", "a zip archive"),
    ):
        (tmp_path / name).write_bytes(content)
        reason = refusal(tmp_path / name)
        assert f"its content is {found}" in reason
        assert f"is {expected}" in reason


def test_other_suffixes(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "x.weights", cnn_arrays())
    with pytest.raises(WeightsError, match=r"ends in '\.weights'; expected one of \.keras, \.h5"):
        from_keras(path)
    with pytest.raises(WeightsError, match=r"expected one of \.pt, \.pth, \.safetensors"):
        from_torch(path)
    with pytest.raises(WeightsError, match=r"ends in ''"):
        from_keras(tmp_path)


# Archives


def entries(**changes: bytes | None) -> Callable[[dict[str, bytes]], None]:
    def change(found: dict[str, bytes]) -> None:
        for name, content in changes.items():
            name = {"config": "config.json", "weights": "model.weights.h5"}[name]
            if content is None:
                del found[name]
            else:
                found[name] = content

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (entries(config=None), "it holds no config.json"),
        (entries(weights=None), "it holds no model.weights.h5"),
        (entries(config=b"{"), "config.json is no JSON"),
        (entries(config="{}".encode("utf-16")), "config.json is no JSON in UTF-8"),
        (entries(config=b"[" * 99 + b"]" * 99), "config.json is nested too deep"),
        (entries(config=b" " * 300_000), "config.json has 300,000 bytes; more than 262,144"),
        (entries(weights=b"\0" * 2_000_000), "model.weights.h5 has 2,000,000 bytes; more than 1,"),
        (entries(weights=b"x" * 100), "model.weights.h5: it is no HDF5 file"),
        (entries(weights=b""), "model.weights.h5: its HDF5 structure leads out"),
        (lambda found: found.update({"../x": b""}), "'../x' leads out of the archive"),
        (lambda found: found.update({"/x": b""}), "'/x' leads out of the archive"),
        (lambda found: found.update({"a/../../x": b""}), "leads out of the archive"),
        (lambda found: found.update({"c:x": b""}), "leads out of the archive"),
        (lambda found: found.update({"a\\x": b""}), "leads out of the archive"),
        (lambda found: found.update({"assets/": b""}), "a link, a folder or a device"),
        (lambda found: found.update({"extra.txt": b""}), "'extra.txt' is none of metadata.json"),
        (
            lambda found: found.update({f"a{i}": b"" for i in range(MAX_ZIP_ENTRIES)}),
            f"{MAX_ZIP_ENTRIES + 3} entries; at most",
        ),
    ],
)
def test_hostile_archives(
    change: Callable[[dict[str, bytes]], Any], sentence: str, tmp_path: Path
) -> None:
    reason = refusal(write_keras(tmp_path / "x.keras", cnn_arrays(), change=change))
    assert sentence in reason


def test_compressed_archives(tmp_path: Path) -> None:
    for number, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)):
        path = write_keras(tmp_path / f"{number}.keras", cnn_arrays(), compression=method)
        assert_same_bits(cnn_to_arrays(from_keras(path)), cnn_arrays())
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = write_keras(tmp_path / "x.keras", cnn_arrays(), compression=method)
        assert f"compressed by method {method}" in refusal(path)


def test_an_entry_that_stands_twice(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "x.keras", cnn_arrays())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", b"{}")
    assert "two entries of the name 'config.json'" in refusal(path)


def test_links_and_encrypted_entries(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "x.keras", cnn_arrays())
    whole = path.read_bytes()
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "'link' is a link, a folder or a device" in refusal(path)
    content = bytearray(whole)
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert "'metadata.json' is encrypted" in refusal(path)


def test_zip_bombs(tmp_path: Path) -> None:
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b"\0" * 10**7)
    assert "unpacks to 10,000,000 bytes, more than 20 times" in refusal(path)
    # Sizes that the directory claims: zip64 is what can claim so much.
    for claim, sentence in ((2**33, "more than 20 times"), (2**62, "more than 20 times")):
        info = zipfile.ZipInfo("config.json")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(info, b"{}")
            info.file_size = claim
        assert sentence in refusal(path)


def test_an_archive_that_unpacks_to_too_much_in_all() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in "abc":
            archive.writestr(name, b"x" * 100)
    with unpacked(file, 300) as found:
        assert [found.read(name, 100) for name in found.names] == [b"x" * 100] * 3
        with pytest.raises(WeightsError, match="more than 99 are not read"):
            found.read("a", 99)
    with pytest.raises(WeightsError, match="it unpacks to 300 bytes; more than 299"):
        unpacked(file, 299).__enter__()


def test_a_directory_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2_000):
            archive.writestr(f"{number:060}", b"")
    assert f"more than {MAX_ZIP_DIRECTORY_BYTES:,} are not read" in refusal(path)
    # A record of zip64 that contradicts the other.
    whole = write_keras(path, cnn_arrays()).read_bytes()
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 3, 3, 2**40, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(whole) - 22, 1)
    path.write_bytes(whole[:-22] + end64 + locator + whole[-22:])
    assert f"{2**40:,} bytes" in refusal(path)


def test_damaged_archives(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "x.keras", cnn_arrays())
    whole = path.read_bytes()
    for content, sentence in (
        (whole[:-1], "does not end with a zip directory"),
        (whole[: len(whole) // 2], "does not end with a zip directory"),
        (whole + b"\0", "does not end with a zip directory"),
        (whole[:20], "does not end with a zip directory"),
        (whole[:5_000] + bytes([whole[5_000] ^ 1]) + whole[5_001:], "cannot be read"),
        (whole.replace(b"PK\1\2", b"PK\1\3"), "its zip directory cannot be read"),
    ):
        path.write_bytes(content)
        assert sentence in refusal(path)


def test_code_in_a_layer_is_never_run(tmp_path: Path) -> None:
    """A Lambda whose code leaves a trace, as Keras itself saves it."""
    from keras import Input, Sequential, layers

    trace = tmp_path / "trace"

    def leave_trace(x: Any, path: str = str(trace)) -> Any:
        return __import__("pathlib").Path(path).touch() or x

    original = Sequential([Input((22, 22, 3)), layers.Lambda(leave_trace)])
    trace.unlink()
    for name in ("x.keras", "x.h5"):
        original.save(tmp_path / name)
        assert "is a Lambda, which holds code; it is not run" in refusal(tmp_path / name)
    assert not trace.exists()
