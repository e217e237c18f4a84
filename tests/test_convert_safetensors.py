"""safetensors files that are damaged or hostile."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from chifoumi_jax.convert import WeightsError, from_torch
from chifoumi_jax.convert.arrays import mlp_to_arrays
from tests.weights import assert_same_bits, mlp_arrays


def build(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def parts() -> tuple[dict[str, Any], bytes]:
    content = save(mlp_arrays())
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        from_torch(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.safetensors"


def test_a_whole_file(path: Path) -> None:
    header, data = parts()
    for extra in ({}, {"__metadata__": {"format": "pt"}}):
        path.write_bytes(build(header | extra, data))
        assert_same_bits(mlp_to_arrays(from_torch(path)), mlp_arrays())
        assert_same_bits(
            {name: load(path.read_bytes())[name] for name in mlp_arrays()}, mlp_arrays()
        )


@pytest.mark.parametrize(
    ("changes", "sentence"),
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
def test_hostile_entries(changes: dict[str, Any], sentence: str, path: Path) -> None:
    header, data = parts()
    header["fc1.bias"] |= changes
    reason = refusal(path, build(header, data))
    assert any(part in reason for part in sentence.split("|")), reason


def test_hostile_headers(path: Path) -> None:
    header, data = parts()
    text = json.dumps(header).encode()
    whole = build(header, data)
    twice = text[:-1] + b', "fc1.bias": ' + json.dumps(header["fc1.bias"]).encode() + b"}"
    # The library's own reader lets it pass.
    assert load(build(twice, data)).keys() == mlp_arrays().keys()
    deep = b'{"a":' * 40 + b"1" + b"}" * 40
    for content, sentence in (
        (build(twice, data), "its header gives 'fc1.bias' twice"),
        (build(deep), "nested too deep"),
        (build(b"{", data), "its header is no JSON"),
        (build(b'{"a": "\xff"}'), "its header is no JSON in UTF-8"),
        (build(header | {"x": 1}, data), "x is not described"),
        (build({}, data), "its tensors take 0 bytes, but it has 271,116"),
        (build({}), "fc1.weight is missing; there is nothing"),
        (whole + b"\0", "its tensors take 271,116 bytes, but it has 271,117"),
        (whole[:-1], "it may be truncated"),
        (whole[:100], "its header would have"),
        ((2**31).to_bytes(8, "little") + text + data, "would have 2,147,483,648 bytes"),
        (build(b"{" + b" " * 300_000 + b"}"), "more than 262,144 are not read"),
        ((2**63).to_bytes(8, "little") + whole[8:], "of no kind that is known"),
        (build(b"[]" + b" " * 8), "of no kind that is known"),
        (build({name: header[name] for name in list(header)[1:]}, data), "starts at byte"),
    ):
        assert sentence in refusal(path, content)


def test_a_gap_and_an_overlap(path: Path) -> None:
    header, data = parts()
    last = max(header, key=lambda name: header[name]["data_offsets"])
    start, end = header[last]["data_offsets"]
    header[last]["data_offsets"] = [start + 4, end + 4]
    assert f"{last} starts at byte {start + 4:,}" in refusal(path, build(header, data + bytes(4)))
    header[last]["data_offsets"] = [start - 4, end - 4]
    assert f"{last} starts at byte {start - 4:,}" in refusal(path, build(header, data[:-4]))


def test_values_that_are_not_finite(path: Path) -> None:
    arrays = mlp_arrays()
    arrays["fc2.weight"][1, 2] = np.inf
    assert "fc2.weight is inf at [1, 2]" in refusal(path, save(arrays))
