"""Damaged or hostile PyTorch files are refused."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chifoumi_jax.convert import WeightsError, from_torch
from chifoumi_jax.convert.arrays import mlp_to_arrays
from chifoumi_jax.convert.untrusted.limits import MAX_PICKLE_OPCODES, MAX_ZIP_ENTRIES
from tests.weights import assert_same_bits, mlp_arrays, torch_module

BEFORE_1_6 = {"_use_new_zipfile_serialization": False}


def refusal_message(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        from_torch(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def saved_bytes(value: Any = None, **options: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(
        torch_module(3, mlp_arrays()).state_dict() if value is None else value, file, **options
    )
    return file.getvalue()


def change_archive(content: bytes, change: Callable[[dict[str, bytes]], Any]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def replace_in_pickle(before: bytes, after: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(entries: dict[str, bytes]) -> None:
        assert before in entries["archive/data.pkl"]
        entries["archive/data.pkl"] = entries["archive/data.pkl"].replace(before, after, 1)

    return change


def set_data_pkl(content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda entries: entries.update({"archive/data.pkl": content})


class CallsOnUnpickling:
    """An object that calls a function when it is unpickled."""

    def __init__(self, *call: Any):
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("options", [{}, BEFORE_1_6])
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_code_is_never_run(options: dict[str, Any], suffix: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = tmp_path / f"x{suffix}"
    for call, name in (
        ((os.system, f"touch {trace}"), "posix.system"),
        ((eval, f"open({str(trace)!r}, 'w')"), "__builtin__.eval"),
        ((bytearray, 2**36), "__builtin__.bytearray"),
    ):
        for value in (
            CallsOnUnpickling(*call),
            {"fc1.weight": CallsOnUnpickling(*call)},
            [{"a": CallsOnUnpickling(*call)}],
        ):
            path.write_bytes(saved_bytes(value, **options))
            reason = refusal_message(path)
            assert f"refers to {name}" in reason or "refers to builtins." in reason
            assert "which is not run; save the model's state_dict()" in reason
    assert not trace.exists()


def test_a_pickled_model_is_refused_with_a_remedy(tmp_path: Path) -> None:
    import torch

    for options in ({}, BEFORE_1_6):
        path = tmp_path / "x.pt"
        path.write_bytes(saved_bytes(torch.nn.Linear(2, 2), **options))
        assert "refers to torch.nn.modules.linear.Linear, which is not run" in refusal_message(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: entries.pop("archive/data.pkl"), "0 entries named data.pkl"),
        (lambda entries: entries.update({"b/data.pkl": b"N."}), "2 entries named data.pkl"),
        (
            lambda entries: entries.pop("archive/data/0"),
            "262,144 bytes; the file holds nothing",
        ),
        (lambda entries: entries.update({"archive/data/1": b""}), "holds 0 bytes"),
        (lambda entries: entries.update({"../x": b""}), "leads out of the archive"),
        (
            lambda entries: entries.update({f"a/{i}": b"" for i in range(MAX_ZIP_ENTRIES)}),
            f"at most {MAX_ZIP_ENTRIES}",
        ),
        (lambda entries: entries.update({"a/zeros": bytes(10**7)}), "a zip bomb"),
        (set_data_pkl(b""), "its pickle is damaged"),
        (set_data_pkl(b"\x80\x02"), "pickle is damaged"),
        (set_data_pkl(b"\x80\x02N."), "holds a NoneType"),
        (set_data_pkl(b"\x80\x02}."), "weight is missing"),
        (set_data_pkl(b"\x80\x04}."), "protocol 4; expected"),
        (
            lambda entries: entries.update({"archive/data.pkl": b"\x80\x02h\x05."}),
            "was never set",
        ),
        (
            lambda entries: entries.update({"archive/data.pkl": b"\x80\x02tR."}),
            "PyTorch cannot read",
        ),
        (set_data_pkl(b"(i\nx\n."), "uses INST|damaged"),
        (set_data_pkl(b"\x80\x02NQ."), "not a plain storage"),
        (set_data_pkl(b"\x80\x02S'\\e'\n."), "uses STRING|pickle is damaged"),
        # Changes 65,536 items of 4 bytes to 16 million items.
        (replace_in_pickle(b"J\0\0\1\0tq", b"J\0\0\0\1tq"), "claims 67,108,864 bytes"),
        (replace_in_pickle(b"J\0\0\1\0tq", b"J\xff\xff\xff\xfftq"), "not a plain storage"),
        (replace_in_pickle(b"FloatStorage", b"LongStorage"), "claims 524,288 bytes"),
        (replace_in_pickle(b"FloatStorage", b"QInt8Storage"), "refers to torch.QInt8Storage"),
        (
            replace_in_pickle(b"_rebuild_tensor_v2", b"_rebuild_sparse_tensor"),
            "_rebuild_sparse_tensor",
        ),
        # Changes 64 × 1,024 to a shape that is too large for the storage.
        (replace_in_pickle(b"K@M\0\4\x86", b"M\0\4M\0\4\x86"), "PyTorch cannot read it|has shape"),
        (
            replace_in_pickle(b"fc1.weight", b"fc9.weight"),
            "fc1.weight is missing; found fc9.weight",
        ),
    ],
)
def test_hostile_archives_are_refused(
    change: Callable[[dict[str, bytes]], Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.pt"
    content = saved_bytes()
    path.write_bytes(change_archive(content, lambda entries: None))
    assert_same_bits(mlp_to_arrays(from_torch(path)), mlp_arrays())
    path.write_bytes(change_archive(content, change))
    reason = refusal_message(path)
    assert any(part in reason for part in message.split("|")), reason


def test_shapes_are_checked_before_values_are_allocated(tmp_path: Path) -> None:
    """The tensor is one number, broadcast to a shape that fits into no memory."""
    import torch

    state = dict(torch_module().state_dict())
    state["fc1.weight"] = torch.zeros(1, 1).expand(2**20, 2**20)
    (tmp_path / "x.pt").write_bytes(saved_bytes(state))
    assert "fc1.weight has shape (1048576, 1048576)" in refusal_message(tmp_path / "x.pt")


# Files of PyTorch before 1.6: four pickles, a list of the storages, and the storages


def test_missing_storages_in_old_files_are_refused(tmp_path: Path) -> None:
    """PyTorch would leave such a storage uninitialised."""
    path = tmp_path / "x.pt"
    valid = saved_bytes(**BEFORE_1_6)
    lists = b"\x80\x02]q\x00("
    start = valid.index(lists)
    end = valid.index(b"e.", start) + 2
    path.write_bytes(valid[:start] + b"\x80\x02]q\x00." + valid[end:])
    assert "its list of storages name different storages" in refusal_message(path)
    path.write_bytes(valid[:start] + b"\x80\x02N." + valid[end:])
    assert "its list of storages is not a list of strings" in refusal_message(path)
    for content in (valid[:-1], valid + b"\0", valid[:end]):
        path.write_bytes(content)
        assert "its storages claim 271,164 bytes; the file holds" in refusal_message(path)
    for length in (20, 100, start - 5, start + 3):
        path.write_bytes(valid[:length])
        assert "damaged" in refusal_message(path)


def test_wrong_item_counts_in_old_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    valid = saved_bytes(**BEFORE_1_6)
    # The number of items before a storage contradicts the pickle.
    first = valid.index(b"e.", valid.index(b"\x80\x02]q\x00(")) + 2
    content = bytearray(valid)
    content[first : first + 8] = (2**40).to_bytes(8, "little")
    path.write_bytes(content)
    assert "PyTorch cannot read it" in refusal_message(path)


# A file may hold keys of any type.
@pytest.mark.usefixtures("unchecked_types")
def test_other_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for protocol in (2, 3, 4, 5):
        path.write_bytes(pickle.dumps({"a": 1}, protocol))
        assert "of an unknown format" in refusal_message(path)
    path.write_bytes(saved_bytes(OrderedDict(a=1), **BEFORE_1_6))
    assert "fc1.weight is missing; found a" in refusal_message(path)
    path.write_bytes(saved_bytes([1, 2], **BEFORE_1_6))
    assert "it holds a list; expected a state dict" in refusal_message(path)
    path.write_bytes(saved_bytes({1: 2}, **BEFORE_1_6))
    assert "found 1" in refusal_message(path)


def test_pickles_with_too_many_opcodes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(saved_bytes(dict.fromkeys(map(str, range(100_000))), **BEFORE_1_6))
    assert f"more than {MAX_PICKLE_OPCODES} opcodes" in refusal_message(path)
