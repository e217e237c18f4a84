"""HDF5 files that are damaged, hostile or of another layout are refused."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from chifoumi_jax.convert import WeightsError, from_keras
from chifoumi_jax.convert.arrays import cnn_to_arrays
from chifoumi_jax.convert.untrusted.hdf5.tree import Tree
from chifoumi_jax.convert.untrusted.limits import MAX_JSON_BYTES
from tests.weights import (
    assert_same_bits,
    cnn_arrays,
    keras_config,
    write_keras,
    write_legacy,
    write_v3,
)

KERNEL = "layers/dense/vars/0"
BIAS = "layers/conv2d/vars/1"


def refusal_message(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        from_keras(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def replace_object(
    place: str, make: Callable[[h5py.Group, str], Any]
) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[place]
        folder, _, name = place.rpartition("/")
        make(file[folder or "/"], name)

    return change


def replace_dataset(place: str, *arguments: Any, **options: Any) -> Callable[[h5py.File], None]:
    return replace_object(
        place, lambda group, name: group.create_dataset(name, *arguments, **options)
    )


def add_object(place: str, make: Callable[[h5py.File], Any]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[place] = make(file)

    return change


def create_virtual(group: h5py.Group, name: str) -> None:
    layout = h5py.VirtualLayout((32,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (32,))
    group.create_virtual_dataset(name, layout)


def create_external(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, (32,), "f4", external=[("/etc/passwd", 0, 128)])


def create_compact(group: h5py.Group, name: str) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((32,))
    h5py.h5d.create(group.id, name.encode(), h5py.h5t.IEEE_F32LE, space, plist)


def nest_too_deep(file: h5py.File) -> None:
    file.create_group("layers/" + "/".join("abcdefghijkl"))


def add_too_many_members(file: h5py.File) -> None:
    for number in range(65):
        file.create_group(f"layers/a{number}")


def add_too_many_objects(file: h5py.File) -> None:
    for number in range(600):
        file.create_group(f"layers/a{number // 60}/b{number % 60}")


def add_too_many_attributes(file: h5py.File) -> None:
    for number in range(33):
        file["layers"].attrs[f"a{number}"] = number


def add_name_that_is_not_utf8(file: h5py.File) -> None:
    h5py.h5g.create(file["layers"].id, b"\xff\xfe")


def create_odd_float(group: h5py.Group, name: str) -> None:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(100)
    h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple((32,)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Links
        (
            replace_object(BIAS, lambda g, name: g.__setitem__(name, h5py.SoftLink("/x"))),
            "1 is a soft link",
        ),
        (add_object("layers/z", lambda _: h5py.SoftLink("/layers")), "layers: z is a soft link"),
        (
            add_object("layers/z", lambda _: h5py.ExternalLink("/etc/passwd", "/")),
            "links to other files",
        ),
        (
            add_object("layers/z", lambda file: file["layers"]),
            "layers/z is a second name of an object",
        ),
        (add_object("layers/conv2d/z", lambda file: file["/"]), "is a second name of an object"),
        (add_object("layers/z/vars/0", lambda file: file[BIAS]), "is a second name of an object"),
        (
            replace_object("layers/conv2d_1/vars/1", lambda g, n: g.__setitem__(n, g.file[BIAS])),
            "a second",
        ),
        (
            add_object("layers/z", lambda _: np.dtype("f4")),
            "layers/z is neither a dataset nor a group",
        ),
        # Storage
        (replace_object(BIAS, create_external), "is stored in another file"),
        (
            replace_object(BIAS, create_virtual),
            "compressed, in chunks, or not stored as Keras|another format",
        ),
        (replace_object(BIAS, create_compact), "compressed, in chunks, or not stored as Keras"),
        (replace_dataset(BIAS, data=np.zeros(32, "f4"), compression="gzip"), "compressed"),
        (replace_dataset(BIAS, data=np.zeros(32, "f4"), compression="lzf"), "compressed"),
        (replace_dataset(BIAS, data=np.zeros(32, "f4"), maxshape=(None,)), "in chunks"),
        (replace_dataset(BIAS, data=np.zeros(32, "f4"), scaleoffset=3), "compressed"),
        (replace_dataset(KERNEL, (2**50, 64), "f4", compression="gzip"), "compressed, in chunks"),
        # Claims
        (replace_dataset(KERNEL, (2**50, 64), "f4"), "is not completely in the file"),
        (replace_dataset(KERNEL, (64, 64), "f4"), "is not completely in the file"),
        (replace_dataset(KERNEL, (0, 64), "f4"), "is not completely in the file|no square image"),
        # Types
        (
            replace_dataset(BIAS, data=np.zeros(32, "f8")),
            "conv2d_1/bias is float64; expected float32",
        ),
        (
            replace_dataset(BIAS, data=np.zeros(32, "f2")),
            "conv2d_1/bias is of other floating-point numbers",
        ),
        (replace_dataset(BIAS, data=np.zeros(32, ">f4")), "of other floating-point numbers"),
        (replace_object(BIAS, create_odd_float), "of other floating-point numbers"),
        (replace_dataset(BIAS, data=np.zeros(32, "i4")), "of integers"),
        (replace_dataset(BIAS, data=np.zeros(32, "S4")), "of text"),
        (replace_dataset(BIAS, (32,), h5py.string_dtype()), "of lists of any length"),
        (replace_dataset(BIAS, (32,), h5py.vlen_dtype("f4")), "of lists of any length"),
        (replace_dataset(BIAS, (32,), h5py.ref_dtype), "of references"),
        (replace_dataset(BIAS, data=np.zeros(32, [("a", "f4")])), "of records"),
        (replace_dataset(BIAS, data=h5py.Empty("f4")), "conv2d/vars/1 is empty"),
        # Values
        (replace_dataset(BIAS, data=np.full(32, np.nan, "f4")), r"conv2d_1/bias is nan at \[0\]"),
        (replace_dataset(BIAS, data=np.zeros(33, "f4")), r"conv2d_1/bias has shape \(33,\)"),
        (replace_dataset(BIAS, data=np.float32(1)), r"conv2d_1/bias has shape \(\)"),
        # More or fewer
        (lambda file: file.__delitem__(BIAS), f"it holds no dataset {BIAS}"),
        (add_object("layers/conv2d/vars/2", lambda _: np.zeros(3)), "vars/2, which is not part"),
        (add_object("layers/dense_2/vars/0", lambda _: np.zeros(3)), "which is not part"),
        (add_object("vars/0", lambda _: np.zeros(3)), "vars/0, which is not part"),
        (
            replace_object("layers", lambda group, name: group.create_group(name)),
            "holds no dataset",
        ),
        (lambda file: file.__delitem__("layers"), "neither weights of Keras 3"),
        # Too much
        (nest_too_deep, "more than 8 groups deep"),
        (add_too_many_members, "more than 64 members"),
        (add_too_many_objects, "more than 512 groups and datasets"),
        (add_too_many_attributes, "layers: it has 33 attributes; at most 32|another format"),
        (add_name_that_is_not_utf8, "cannot be read"),
    ],
)
def test_hostile_v3_files_are_refused(
    change: Callable[[h5py.File], Any], message: str, tmp_path: Path
) -> None:
    path = write_v3(tmp_path / "x.weights.h5", cnn_arrays())
    with h5py.File(path, "a") as file:
        change(file)
    assert_refused(path, message)


def assert_refused(path: Path, message: str) -> None:
    assert re.search(message, refusal_message(path)), refusal_message(path)


def test_optimizer_state_is_ignored(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "x.weights.h5", cnn_arrays())
    with h5py.File(path, "a") as file:
        file["optimizer/vars/0"] = h5py.ExternalLink("/etc/passwd", "/")
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, "u4")
    assert_same_bits(cnn_to_arrays(from_keras(path)), cnn_arrays())


def attribute(place: str, name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file[place].attrs.__setitem__(name, value)


ROOT, DENSE = "model_weights", "model_weights/dense_10"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (attribute("/", "model_config", "{"), "model_config is not JSON"),
        (attribute("/", "model_config", json.dumps({"a": {}})), "the model is a None"),
        (attribute("/", "model_config", 3), "the attribute model_config is not text"),
        (attribute("/", "model_config", np.bytes_(b"\xff")), "model_config cannot be read"),
        (attribute("/", "model_config", b"\xff"), "model_config cannot be read"),
        (attribute("/", "model_config", "x" * (MAX_JSON_BYTES + 1)), "more than 262,144 bytes"),
        (attribute("/", "model_config", h5py.Empty("S1")), "model_config holds 0 strings"),
        (attribute("/", "model_config", ""), "model_config is not JSON"),
        (attribute(ROOT, "backend", "theano"), "saved with theano"),
        (attribute(ROOT, "layer_names", 3), "not text"),
        (attribute(ROOT, "layer_names", ["a"] * 65), "too many strings"),
        (attribute(ROOT, "layer_names", ["a"]), "names the layer 'a', but holds no group"),
        (attribute(ROOT, "layer_names", ["../x"]), "holds no group"),
        (attribute(ROOT, "layer_names", ["flatten_9"]), "which is not part of the network"),
        (lambda file: file[ROOT].attrs.__delitem__("layer_names"), "does not name its layers"),
        (attribute(DENSE, "weight_names", ["x"]), "holds no dataset model_weights/dense_10/x"),
        (attribute(DENSE, "weight_names", ["dense_10_1/kernel:0"] * 2), "not part of the network"),
        (attribute(DENSE, "weight_names", ["."]), "holds no dataset"),
        (attribute(DENSE, "weight_names", ["/etc"]), "holds no dataset"),
        (add_object(f"{DENSE}/x", lambda _: np.zeros(3)), "dense_10/x, which is not part"),
        (add_object(f"{ROOT}/x", lambda _: np.zeros(3)), "model_weights/x, which is not part"),
    ],
)
def test_hostile_legacy_files_are_refused(
    change: Callable[[h5py.File], Any], message: str, tmp_path: Path
) -> None:
    path = write_legacy(tmp_path / "x.h5", cnn_arrays(), keras_config(legacy=True))
    with h5py.File(path, "a") as file:
        change(file)
    assert_refused(path, message)


def test_reordered_layers_are_refused_by_their_shapes(tmp_path: Path) -> None:
    path = write_legacy(tmp_path / "x.h5", cnn_arrays())
    with h5py.File(path, "a") as file:
        names = list(file.attrs["layer_names"])
        file.attrs["layer_names"] = names[::-1]
    assert "has shape" in refusal_message(path) or "expected two axes" in refusal_message(path)


# Strings of variable length, where HDF5 1.14 would loop for ever or allocate what is claimed


def write_text(path: Path) -> bytearray:
    write_legacy(path, cnn_arrays(), keras_config(legacy=True), as_text=True)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("size", [0, 2**64 - 16, 2**64 - 4096, 2**63, 2**32])
@pytest.mark.parametrize("free", [False, True])
def test_a_damaged_heap_is_refused(size: int, free: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    content = write_text(path)
    place = content.index(b"GCOL") + 16
    content[place + 8 : place + 16] = size.to_bytes(8, "little")
    if free:
        content[place : place + 2] = b"\0\0"
    path.write_bytes(content)
    assert_refused(path, "heap at byte|longer than its storage|is not text")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        # Length, heap address and object number of the string "tensorflow".
        (0, 2**32 - 1, "backend has more than 262,144 bytes"),
        (0, 2**17, "backend is longer than its storage"),
        (4, 2**32 - 1, "points outside the file"),
        (4, 0, "no HDF5 heap at byte 0"),
    ],
)
def test_a_damaged_string_reference_is_refused(
    before: int, after: int, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.h5"
    content = write_text(path)
    heap = content.index(b"GCOL").to_bytes(8, "little")
    reference = (len(b"tensorflow")).to_bytes(4, "little") + heap
    place = content.index(reference)
    while (place := content.find(reference, place)) >= 0:
        content[place + before : place + before + 4] = after.to_bytes(4, "little")
        place += 1
    path.write_bytes(content)
    assert_refused(path, message)


def test_strings_are_read_in_every_form(tmp_path: Path) -> None:
    texts = {"short": "é", "long": "x" * 5_000, "empty": ""}
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("group")
        for name, text in texts.items():
            group.attrs[name] = text
            group.attrs[f"{name} fixed"] = np.bytes_(text.encode())
        group.attrs["né 手"] = list(texts.values())
        group.attrs["some"] = np.array([b"a", b"bcd"])
    with path.open("rb") as opened:
        tree = Tree(opened)
        for name, text in texts.items():
            assert tree.strings("group", name) == [text]
            assert tree.strings("group", f"{name} fixed") == [text]
        assert tree.strings("group", "né 手") == list(texts.values())
        assert tree.strings("group", "some") == ["a", "bcd"]
        assert tree.strings("group", "none") is None
        assert tree.strings("", "none") is None


def test_newer_hdf5_formats_are_refused_with_a_remedy(tmp_path: Path) -> None:
    """h5py writes them only on request; a group's list then has another structure."""
    for options in ({"libver": "v108"}, {"libver": "latest"}, {"track_order": True}):
        path = write_v3(tmp_path / "x.weights.h5", cnn_arrays(), **options)
        assert_refused(path, "load (it|the file) with Keras and save it again")


# Structures that HDF5 follows, with cycles


def find_all(content: bytes, signature: bytes) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(signature), content)]


@pytest.mark.parametrize("offset", [5, 6, 8, 16, 32])
def test_trees_with_cycles_are_not_followed_for_ever(offset: int, tmp_path: Path) -> None:
    """The offsets are those of level, number of children, sibling nodes, and first child."""
    path = write_v3(tmp_path / "x.weights.h5", cnn_arrays())
    content = path.read_bytes()
    trees, tables = find_all(content, b"TREE\0"), find_all(content, b"SNOD")
    for tree in trees:
        for target in (*trees[:3], tables[0], 0, 96, 2**63, 2**64 - 1):
            changed = bytearray(content)
            if offset < 8:
                changed[tree + offset] = 255
            else:
                changed[tree + offset : tree + offset + 8] = target.to_bytes(8, "little")
            path.write_bytes(changed)
            assert_refused_or_read_unchanged(path)


def test_tables_and_headers_with_cycles_are_not_followed_for_ever(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "x.weights.h5", cnn_arrays())
    content = path.read_bytes()
    for table in find_all(content, b"SNOD"):
        for target in (96, table, 0, 2**64 - 2):
            changed = bytearray(content)
            changed[table + 16 : table + 24] = target.to_bytes(8, "little")
            path.write_bytes(changed)
            assert_refused_or_read_unchanged(path)
    # The root's header becomes its own continuation.
    for start, length in ((112, 24), (96, 2**17), (112, 2**63), (0, 400)):
        changed = bytearray(content)
        changed[112:136] = struct.pack("<HHB3xQQ", 0x10, 16, 0, start, length)
        path.write_bytes(changed)
        refusal_message(path)


def assert_refused_or_read_unchanged(path: Path) -> None:
    """A change may have no effect; then the file must be read as before."""
    try:
        model = from_keras(path)
    except WeightsError:
        return
    assert_same_bits(cnn_to_arrays(model), cnn_arrays())


# Damage


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for write in (write_v3, write_legacy):
        path = write(tmp_path / "x.h5", cnn_arrays())
        content = path.read_bytes()
        for length in (8, 96, 800, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:length])
            assert "truncated" in refusal_message(path) or "cannot be read" in refusal_message(path)


def test_other_address_sizes_and_bases_are_refused(tmp_path: Path) -> None:
    plist = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    plist.set_sizes(4, 4)
    path = tmp_path / "x.h5"
    h5py.h5f.create(str(path).encode(), h5py.h5f.ACC_TRUNC, plist).close()
    assert "another HDF5 format" in refusal_message(path)
    with h5py.File(path, "w", userblock_size=512):
        pass
    assert "of an unknown format" in refusal_message(path)
    path.write_bytes(path.read_bytes()[512:])
    assert "another HDF5 format" in refusal_message(path)


def test_links_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    """They are not followed even if the other file holds the weights."""
    write_v3(tmp_path / "other.weights.h5", cnn_arrays())
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("other.weights.h5", "/layers")
    assert "may have links to other files" in refusal_message(tmp_path / "x.weights.h5")
    entries = (tmp_path / "x.weights.h5").read_bytes()
    path = write_keras(
        tmp_path / "x.keras",
        cnn_arrays(),
        change=lambda found: found.update({"model.weights.h5": entries}),
    )
    assert "model.weights.h5: the root is neither a dataset nor a group" in refusal_message(path)
