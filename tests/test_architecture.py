"""The arrows between the rooms: nothing imports what lies above it, and nothing in a circle."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmarks", "chifoumi_jax", "parity", "reference")


def broken_contracts(root: Path) -> list[str]:
    """The names of the contracts in `root/pyproject.toml` that its imports break."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        capture_output=True,
        text=True,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "COLUMNS": "200"},
    )
    lines = done.stdout.splitlines()
    assert any(line.startswith("Contracts: ") for line in lines), done.stdout + done.stderr
    return [line.removesuffix(" BROKEN") for line in lines if line.endswith(" BROKEN")]


def test_all_contracts_are_kept() -> None:
    assert broken_contracts(ROOT) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=_all_but_python)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _all_but_python(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(folder) / name).is_file() and name[-3:] != ".py"]


@pytest.mark.parametrize(
    ("module", "statement", "contract"),
    [
        ("chifoumi_jax/ops/native.py", "import chifoumi_jax.training.step", "nothing runs back up"),
        ("chifoumi_jax/models/cnn.py", "from parity.comparison import compare", "Proofs know"),
        ("reference/order.py", "from chifoumi_jax.files import sha256", "Proofs know"),
        ("parity/comparison.py", "from parity.rungs import forward", "Inside parity"),
        ("chifoumi_jax/data/folder/walk.py", "import chifoumi_jax.data.folder.scanning", "No circ"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(
    module: str, statement: str, contract: str, copy: Path
) -> None:
    # Inside a function: a late import is an arrow too.
    with (copy / module).open("a") as file:
        file.write(f"\n\ndef late() -> None:\n    {statement}\n")
    assert any(contract in name for name in broken_contracts(copy))
