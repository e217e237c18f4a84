"""PyTorch files that are damaged or hostile."""

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
from chifoumi_jax.convert.untrusted.limits import MAX_PICKLE_STEPS, MAX_ZIP_ENTRIES
from tests.weights import assert_same_bits, mlp_arrays, torch_module

BEFORE_1_6 = {"_use_new_zipfile_serialization": False}


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        from_torch(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def saved(value: Any = None, **options: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(
        torch_module(3, mlp_arrays()).state_dict() if value is None else value, file, **options
    )
    return file.getvalue()


def rebuilt(content: bytes, change: Callable[[dict[str, bytes]], Any]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def pickled(before: bytes, after: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(entries: dict[str, bytes]) -> None:
        assert before in entries["archive/data.pkl"]
        entries["archive/data.pkl"] = entries["archive/data.pkl"].replace(before, after, 1)

    return change


def data_pkl(content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda entries: entries.update({"archive/data.pkl": content})


class Runs:
    """What leaves a trace when it is unpickled."""

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
        for value in (Runs(*call), {"fc1.weight": Runs(*call)}, [{"a": Runs(*call)}]):
            path.write_bytes(saved(value, **options))
            reason = refusal(path)
            assert f"refers to {name}" in reason or "refers to builtins." in reason
            assert "which is not run; save the model's state_dict()" in reason
    assert not trace.exists()


def test_a_whole_model_is_refused_with_the_remedy(tmp_path: Path) -> None:
    import torch

    for options in ({}, BEFORE_1_6):
        path = tmp_path / "x.pt"
        path.write_bytes(saved(torch.nn.Linear(2, 2), **options))
        assert "refers to torch.nn.modules.linear.Linear, which is not run" in refusal(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda entries: entries.pop("archive/data.pkl"), "0 entries data.pkl"),
        (lambda entries: entries.update({"b/data.pkl": b"N."}), "2 entries data.pkl"),
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
        (data_pkl(b""), "its pickle is damaged"),
        (data_pkl(b"\x80\x02"), "pickle is damaged"),
        (data_pkl(b"\x80\x02N."), "holds a NoneType"),
        (data_pkl(b"\x80\x02}."), "weight is missing"),
        (data_pkl(b"\x80\x04}."), "the protocol 4"),
        (
            lambda entries: entries.update({"archive/data.pkl": b"\x80\x02h\x05."}),
            "nothing was put",
        ),
        (
            lambda entries: entries.update({"archive/data.pkl": b"\x80\x02tR."}),
            "PyTorch cannot read",
        ),
        (data_pkl(b"(i\nx\n."), "uses INST|damaged"),
        (data_pkl(b"\x80\x02NQ."), "no plain storage"),
        (data_pkl(b"\x80\x02S'\\e'\n."), "uses STRING|pickle is damaged"),
        # 65,536 items of 4 bytes, and then 16 million.
        (pickled(b"J\0\0\1\0tq", b"J\0\0\0\1tq"), "claims 67,108,864 bytes"),
        (pickled(b"J\0\0\1\0tq", b"J\xff\xff\xff\xfftq"), "no plain storage"),
        (pickled(b"FloatStorage", b"LongStorage"), "claims 524,288 bytes"),
        (pickled(b"FloatStorage", b"QInt8Storage"), "refers to torch.QInt8Storage"),
        (pickled(b"_rebuild_tensor_v2", b"_rebuild_sparse_tensor"), "_rebuild_sparse_tensor"),
        # 64 × 1,024, and then a shape for which the storage is too small.
        (pickled(b"K@M\0\4\x86", b"M\0\4M\0\4\x86"), "PyTorch cannot read it|has shape"),
        (pickled(b"fc1.weight", b"fc9.weight"), "fc1.weight is missing; there is fc9.weight"),
    ],
)
def test_hostile_archives(
    change: Callable[[dict[str, bytes]], Any], sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.pt"
    content = saved()
    path.write_bytes(rebuilt(content, lambda entries: None))
    assert_same_bits(mlp_to_arrays(from_torch(path)), mlp_arrays())
    path.write_bytes(rebuilt(content, change))
    reason = refusal(path)
    assert any(part in reason for part in sentence.split("|")), reason


def test_what_fits_into_no_memory(tmp_path: Path) -> None:
    """Shapes are judged before a tensor's values are laid out: here one number many times."""
    import torch

    state = dict(torch_module().state_dict())
    state["fc1.weight"] = torch.zeros(1, 1).expand(2**20, 2**20)
    (tmp_path / "x.pt").write_bytes(saved(state))
    assert "fc1.weight has shape (1048576, 1048576)" in refusal(tmp_path / "x.pt")


# Before PyTorch 1.6: four pickles, a list of the storages, and these


def test_storages_that_the_older_file_does_not_hold(tmp_path: Path) -> None:
    """PyTorch would leave such a storage as the memory happened to be."""
    path = tmp_path / "x.pt"
    whole = saved(**BEFORE_1_6)
    lists = b"\x80\x02]q\x00("
    start = whole.index(lists)
    end = whole.index(b"e.", start) + 2
    path.write_bytes(whole[:start] + b"\x80\x02]q\x00." + whole[end:])
    assert "its list of storages name different ones" in refusal(path)
    path.write_bytes(whole[:start] + b"\x80\x02N." + whole[end:])
    assert "its list of storages is something else" in refusal(path)
    for content in (whole[:-1], whole + b"\0", whole[:end]):
        path.write_bytes(content)
        assert "its storages claim 271,164 bytes; the file holds" in refusal(path)
    for length in (20, 100, start - 5, start + 3):
        path.write_bytes(whole[:length])
        assert "damaged" in refusal(path)


def test_the_older_files_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    whole = saved(**BEFORE_1_6)
    # The number of items that stands before a storage contradicts the pickle.
    first = whole.index(b"e.", whole.index(b"\x80\x02]q\x00(")) + 2
    content = bytearray(whole)
    content[first : first + 8] = (2**40).to_bytes(8, "little")
    path.write_bytes(content)
    assert "PyTorch cannot read it" in refusal(path)


def test_other_pickles(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for protocol in (2, 3, 4, 5):
        path.write_bytes(pickle.dumps({"a": 1}, protocol))
        assert "no kind that is known" in refusal(path)
    path.write_bytes(saved(OrderedDict(a=1), **BEFORE_1_6))
    assert "fc1.weight is missing; there is a" in refusal(path)
    path.write_bytes(saved([1, 2], **BEFORE_1_6))
    assert "it holds a list; expected a state dict" in refusal(path)
    path.write_bytes(saved({1: 2}, **BEFORE_1_6))
    assert "there is 1" in refusal(path)


def test_a_pickle_of_too_many_steps(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(saved(dict.fromkeys(map(str, range(100_000))), **BEFORE_1_6))
    assert f"more than {MAX_PICKLE_STEPS} steps" in refusal(path)
