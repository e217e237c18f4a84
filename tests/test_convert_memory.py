"""Files that claim gigabytes are refused within a few megabytes of memory."""

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from chifoumi_jax.convert import to_torch
from tests.weights import (
    cnn_arrays,
    keras_config,
    mlp,
    torch_module,
    write_keras,
    write_legacy,
    write_v3,
)

MEASURE = """
import resource, sys
from pathlib import Path
from chifoumi_jax.convert import WeightsError, from_keras, from_torch

def load(path):
    return (from_keras if path.suffix in (".h5", ".keras") else from_torch)(path)

folder = Path(sys.argv[1])
for file in sorted((folder / "valid").iterdir()):
    load(file)  # imports all libraries before memory is limited
virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
allowed = virtual + 256 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
for file in sorted((folder / "claims").iterdir()):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        load(file)
    except WeightsError as error:
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(file.name, grown, str(error).partition(": ")[2], sep="|")
"""
GIB = 2**30


def write_bombs(folder: Path) -> dict[str, str]:
    """Writes small files that claim gigabytes; returns part of the expected error for each."""
    import torch

    def write_with_dense(name: str, **options: object) -> None:
        path = write_v3(folder / name, cnn_arrays())
        with h5py.File(path, "a") as file:
            del file["layers/dense/vars/0"]
            file.create_dataset("layers/dense/vars/0", **options)

    write_with_dense("chunks.weights.h5", shape=(64 * 254**2, 64), dtype="f4", compression="gzip")
    write_with_dense("late.weights.h5", shape=(64 * 254**2, 64), dtype="f4")
    write_with_dense("huge.weights.h5", shape=(2**40, 64), dtype="f4")
    path = write_legacy(folder / "text.h5", cnn_arrays(), keras_config(legacy=True), as_text=True)
    content = path.read_bytes()
    reference = (10).to_bytes(4, "little") + content.index(b"GCOL").to_bytes(8, "little")
    claim = (2**31).to_bytes(4, "little") + reference[4:]
    path.write_bytes(content.replace(reference, claim))

    large = keras_config(2048)
    zeros = io.BytesIO()
    with h5py.File(zeros, "w") as file:
        file["x"] = np.zeros(2**25, "f4")
    write_keras(
        folder / "zip.keras",
        cnn_arrays(),
        large,
        lambda entries: entries.update({"model.weights.h5": zeros.getvalue()}),
        zipfile.ZIP_DEFLATED,
    )
    write_keras(
        folder / "small.keras",
        cnn_arrays(),
        change=lambda entries: entries.update({"config.json": b" " * 2**26}),
    )
    for name, size in (("huge.safetensors", 2**62), ("large.safetensors", 2 * GIB)):
        entry = b'{"fc1.weight":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}'
        header = entry % (size // 4, size)
        (folder / name).write_bytes(len(header).to_bytes(8, "little") + header)
    (folder / "header.safetensors").write_bytes(GIB.to_bytes(8, "little") + b"{")
    state = dict(torch_module().state_dict())
    torch.save(state, folder / "older.pt", _use_new_zipfile_serialization=False)
    content = (folder / "older.pt").read_bytes()
    # Changes the number of items in the first storage from 65,536 to about 2.1 billion.
    claimed = content.replace(b"J\0\0\1\0Nt", b"J\0\0\0\x7fNt")
    assert claimed != content
    (folder / "older.pt").write_bytes(claimed)
    return {
        "chunks.weights.h5": "compressed, in chunks",
        "late.weights.h5": "is not completely in the file",
        "huge.weights.h5": "is not completely in the file",
        "text.h5": "more than 262,144 bytes",
        "zip.keras": "a zip bomb",
        "small.keras": "config.json has 67,108,864 bytes",
        "huge.safetensors": "its tensors take 4,611,686,018,427,387,904 bytes",
        "large.safetensors": "its tensors take 2,147,483,648 bytes",
        "header.safetensors": "its header would have 1,073,741,824 bytes",
        "older.pt": "its storages claim",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="limits and measures memory as Linux does")
def test_claimed_memory_is_not_allocated(tmp_path: Path) -> None:
    (tmp_path / "valid").mkdir()
    (tmp_path / "claims").mkdir()
    write_keras(tmp_path / "valid" / "x.keras", cnn_arrays())
    to_torch(mlp(), tmp_path / "valid" / "x.safetensors")
    expected = write_bombs(tmp_path / "claims")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
        check=True,
        capture_output=True,
        text=True,
    )
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert {name for name, _, _ in rows} == expected.keys()
    for name, grown, reason in rows:
        assert expected[name] in reason
        # In KiB; allows for the parts of a file's structure that stay in memory.
        assert int(grown) < 4096, name
