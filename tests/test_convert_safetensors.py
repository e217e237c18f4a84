"""Damaged or hostile safetensors files are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from chifoumi_jax.convert import WeightsError, from_torch
from chifoumi_jax.convert.arrays import mlp_to_arrays
from tests.weights import assert_same_bits, mlp_arrays


def build_file(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def header_and_data() -> tuple[dict[str, Any], bytes]:
    content = save(mlp_arrays())
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def refusal_message(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        from_torch(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.safetensors"


def test_a_valid_file_is_read(path: Path) -> None:
    header, data = header_and_data()
    for extra in ({}, {"__metadata__": {"format": "pt"}}):
        path.write_bytes(build_file(header | extra, data))
        assert_same_bits(mlp_to_arrays(from_torch(path)), mlp_arrays())
        assert_same_bits(
            {name: load(path.read_bytes())[name] for name in mlp_arrays()}, mlp_arrays()
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "F16"}, "fc1.bias is F16; expected F32 or F64"),
        ({"dtype": "BF16"}, "fc1.bias is BF16"),
        ({"dtype": ["F32"]}, "expected F32 or F64"),
        ({"dtype": "F64"}, "takes 512 bytes"),
        ({"shape": [65]}, "fc1.bias of shape [65] takes 260 bytes"),
        ({"shape": [2**62]}, "takes 18,446,744,073,709,551,616 bytes"),
        ({"shape": [2**40, 0]}, "takes 0 bytes"),
        ({"shape": [-64]}, "has the shape [-64]"),
        ({"shape": [64.0]}, "has the shape [64.0]"),
        ({"shape": [True]}, "has the shape [True]"),
        ({"shape": 64}, "has the shape 64"),
        ({"shape": [8, 8]}, "fc1.bias has shape (8, 8); expected (64,)"),
        ({"data_offsets": [256, 512]}, "starts at byte 256; expected 0"),
        ({"data_offsets": [2**40, 2**40 + 256]}, "starts at byte"),
        ({"data_offsets": [256, 0]}, "but its offsets are [256, 0]"),
        ({"data_offsets": [-256, 0]}, "the offsets [-256, 0]"),
        ({"data_offsets": [0]}, "the offsets [0]"),
        ({"data_offsets": None}, "the offsets None"),
        ({"extra": 1}, "not described by data_offsets, dtype, shape"),
    ],
)
def test_hostile_entries_are_refused(changes: dict[str, Any], message: str, path: Path) -> None:
    header, data = header_and_data()
    header["fc1.bias"] |= changes
    reason = refusal_message(path, build_file(header, data))
    assert any(part in reason for part in message.split("|")), reason


def test_hostile_headers_are_refused(path: Path) -> None:
    header, data = header_and_data()
    text = json.dumps(header).encode()
    valid = build_file(header, data)
    duplicate = text[:-1] + b', "fc1.bias": ' + json.dumps(header["fc1.bias"]).encode() + b"}"
    # The library's own reader accepts it.
    assert load(build_file(duplicate, data)).keys() == mlp_arrays().keys()
    deep = b'{"a":' * 40 + b"1" + b"}" * 40
    for content, message in (
        (build_file(duplicate, data), "its header gives 'fc1.bias' twice"),
        (build_file(deep), "nested too deep"),
        (build_file(b"{", data), "its header is not JSON"),
        (build_file(b'{"a": "\xff"}'), "its header is not JSON in UTF-8"),
        (build_file(header | {"x": 1}, data), "x is not described"),
        (build_file({}, data), "its tensors take 0 bytes, but it has 271,116"),
        (build_file({}), "fc1.weight is missing; found nothing"),
        (valid + b"\0", "its tensors take 271,116 bytes, but it has 271,117"),
        (valid[:-1], "it may be truncated"),
        (valid[:100], "its header would have"),
        ((2**31).to_bytes(8, "little") + text + data, "would have 2,147,483,648 bytes"),
        (build_file(b"{" + b" " * 300_000 + b"}"), "more than 262,144 are not read"),
        ((2**63).to_bytes(8, "little") + valid[8:], "of an unknown format"),
        (build_file(b"[]" + b" " * 8), "of an unknown format"),
        (build_file({name: header[name] for name in list(header)[1:]}, data), "starts at byte"),
    ):
        assert message in refusal_message(path, content)


def test_gaps_and_overlaps_are_refused(path: Path) -> None:
    header, data = header_and_data()
    last = max(header, key=lambda name: header[name]["data_offsets"])
    start, end = header[last]["data_offsets"]
    header[last]["data_offsets"] = [start + 4, end + 4]
    assert f"{last} starts at byte {start + 4:,}" in refusal_message(
        path, build_file(header, data + bytes(4))
    )
    header[last]["data_offsets"] = [start - 4, end - 4]
    assert f"{last} starts at byte {start - 4:,}" in refusal_message(
        path, build_file(header, data[:-4])
    )


def test_values_that_are_not_finite_are_refused(path: Path) -> None:
    arrays = mlp_arrays()
    arrays["fc2.weight"][1, 2] = np.inf
    assert "fc2.weight is inf at [1, 2]" in refusal_message(path, save(arrays))
