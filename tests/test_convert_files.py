"""Which files are opened at all, and how damaged or hostile zip archives are refused."""

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
from chifoumi_jax.convert.untrusted.archive import open_archive
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


def refusal_message(path: Path) -> str:
    load: Any = from_keras if path.suffix in (".keras", ".h5", ".hdf5") else from_torch
    with pytest.raises(WeightsError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", NAMES)
def test_only_regular_files_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert refusal_message(path) == "No such file or directory"
    path.touch()
    assert refusal_message(path) == "it is empty"
    path.unlink()
    path.mkdir()
    assert refusal_message(path) == "Is a directory"
    path.rmdir()
    os.mkfifo(path)
    assert refusal_message(path) == "it is not a regular file"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert refusal_message(path) == "it is not a regular file"
    path.unlink()
    path.symlink_to(path)
    assert "symbolic links" in refusal_message(path)
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert refusal_message(path) == "No such device or address"


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
    assert refusal_message(path) == f"it has {2**40:,} bytes; more than {limit:,} are not read"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"\0", b"x" * 9, b"\x89PNG\r\n\x1a\n", b"\0" * 5_000])
def test_content_of_an_unknown_format_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert "its content is of an unknown format" in refusal_message(tmp_path / name)


def test_the_content_must_match_the_suffix(tmp_path: Path) -> None:
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
        reason = refusal_message(tmp_path / name)
        assert f"its content is {found}" in reason
        assert f"is {expected}" in reason


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "x.weights", cnn_arrays())
    with pytest.raises(WeightsError, match=r"ends in '\.weights'; expected one of \.keras, \.h5"):
        from_keras(path)
    with pytest.raises(WeightsError, match=r"expected one of \.pt, \.pth, \.safetensors"):
        from_torch(path)
    with pytest.raises(WeightsError, match=r"ends in ''"):
        from_keras(tmp_path)


# Archives


def change_entries(**changes: bytes | None) -> Callable[[dict[str, bytes]], None]:
    def change(found: dict[str, bytes]) -> None:
        for name, content in changes.items():
            name = {"config": "config.json", "weights": "model.weights.h5"}[name]
            if content is None:
                del found[name]
            else:
                found[name] = content

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_entries(config=None), "it holds no config.json"),
        (change_entries(weights=None), "it holds no model.weights.h5"),
        (change_entries(config=b"{"), "config.json is not JSON"),
        (change_entries(config="{}".encode("utf-16")), "config.json is not JSON in UTF-8"),
        (change_entries(config=b"[" * 99 + b"]" * 99), "config.json is nested too deep"),
        (change_entries(config=b" " * 300_000), "config.json has 300,000 bytes; more than 262,144"),
        (
            change_entries(weights=b"\0" * 2_000_000),
            "model.weights.h5 has 2,000,000 bytes; more than 1,",
        ),
        (change_entries(weights=b"x" * 100), "model.weights.h5: it is not an HDF5 file"),
        (change_entries(weights=b""), "model.weights.h5: its HDF5 structure points outside"),
        (lambda found: found.update({"../x": b""}), "'../x' leads out of the archive"),
        (lambda found: found.update({"/x": b""}), "'/x' leads out of the archive"),
        (lambda found: found.update({"a/../../x": b""}), "leads out of the archive"),
        (lambda found: found.update({"c:x": b""}), "leads out of the archive"),
        (lambda found: found.update({"a\\x": b""}), "leads out of the archive"),
        (lambda found: found.update({"assets/": b""}), "a link, a folder or a device"),
        (lambda found: found.update({"extra.txt": b""}), "'extra.txt' is not one of metadata.json"),
        (
            lambda found: found.update({f"a{i}": b"" for i in range(MAX_ZIP_ENTRIES)}),
            f"{MAX_ZIP_ENTRIES + 3} entries; at most",
        ),
    ],
)
def test_hostile_archives_are_refused(
    change: Callable[[dict[str, bytes]], Any], message: str, tmp_path: Path
) -> None:
    reason = refusal_message(write_keras(tmp_path / "x.keras", cnn_arrays(), change=change))
    assert message in reason


def test_only_stored_and_deflated_archives_are_read(tmp_path: Path) -> None:
    for number, method in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)):
        path = write_keras(tmp_path / f"{number}.keras", cnn_arrays(), compression=method)
        assert_same_bits(cnn_to_arrays(from_keras(path)), cnn_arrays())
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = write_keras(tmp_path / "x.keras", cnn_arrays(), compression=method)
        assert f"compressed by method {method}" in refusal_message(path)


def test_a_duplicate_entry_is_refused(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "x.keras", cnn_arrays())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", b"{}")
    assert "two entries named 'config.json'" in refusal_message(path)


def test_links_and_encrypted_entries_are_refused(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "x.keras", cnn_arrays())
    original = path.read_bytes()
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "'link' is a link, a folder or a device" in refusal_message(path)
    content = bytearray(original)
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert "'metadata.json' is encrypted" in refusal_message(path)


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b"\0" * 10**7)
    assert "unpacks to 10,000,000 bytes, more than 20 times" in refusal_message(path)
    # The directory claims these sizes; only zip64 can claim so much.
    for claim, message in ((2**33, "more than 20 times"), (2**62, "more than 20 times")):
        info = zipfile.ZipInfo("config.json")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(info, b"{}")
            info.file_size = claim
        assert message in refusal_message(path)


def test_the_total_unpacked_size_is_limited() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in "abc":
            archive.writestr(name, b"x" * 100)
    with open_archive(file, 300) as found:
        assert [found.read(name, 100) for name in found.names] == [b"x" * 100] * 3
        with pytest.raises(WeightsError, match="more than 99 are not read"):
            found.read("a", 99)
    with pytest.raises(WeightsError, match="it unpacks to 300 bytes; more than 299"):
        open_archive(file, 299).__enter__()


def test_a_too_large_zip_directory_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "x.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2_000):
            archive.writestr(f"{number:060}", b"")
    assert f"more than {MAX_ZIP_DIRECTORY_BYTES:,} are not read" in refusal_message(path)
    # A zip64 record that contradicts the other one.
    original = write_keras(path, cnn_arrays()).read_bytes()
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 3, 3, 2**40, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(original) - 22, 1)
    path.write_bytes(original[:-22] + end64 + locator + original[-22:])
    assert f"{2**40:,} bytes" in refusal_message(path)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "x.keras", cnn_arrays())
    original = path.read_bytes()
    for content, message in (
        (original[:-1], "does not end with a zip directory"),
        (original[: len(original) // 2], "does not end with a zip directory"),
        (original + b"\0", "does not end with a zip directory"),
        (original[:20], "does not end with a zip directory"),
        (original[:5_000] + bytes([original[5_000] ^ 1]) + original[5_001:], "cannot be read"),
        (original.replace(b"PK\1\2", b"PK\1\3"), "its zip directory cannot be read"),
    ):
        path.write_bytes(content)
        assert message in refusal_message(path)


def test_code_in_a_layer_is_never_run(tmp_path: Path) -> None:
    """Keras saves a Lambda layer whose code would create a file; loading must not run it."""
    from keras import Input, Sequential, layers

    trace = tmp_path / "trace"

    def leave_trace(x: Any, path: str = str(trace)) -> Any:
        return __import__("pathlib").Path(path).touch() or x

    original = Sequential([Input((22, 22, 3)), layers.Lambda(leave_trace)])
    trace.unlink()
    for name in ("x.keras", "x.h5"):
        original.save(tmp_path / name)
        assert "is a Lambda, which holds code; it is not run" in refusal_message(tmp_path / name)
    assert not trace.exists()
