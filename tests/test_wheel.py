"""The built wheel, outside the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built


def test_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {"chifoumi_jax", "parity", "reference"}
    assert {name.split("/")[0].split("-")[0] for name in names} == packages
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if path.name != "conftest.py" and not path.name.startswith("test_")
    }
    assert sources <= set(names)
    golden = {f"reference/legacy/golden/{name}" for name in ("keras-2.2.4.npz", "torch-1.0.0.json")}
    assert golden | {f"{package}/py.typed" for package in packages} <= set(names)
    assert not [name for name in names if "/test_" in name]


def test_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import chifoumi_jax; print(chifoumi_jax.__file__)\n"
        "from parity.study.golden_original import golden_originals\n"
        "print(len(golden_originals()), 'recorded')\n"
        "from chifoumi_jax.cli import main; main(['summary'])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
    assert "3 recorded" in done.stdout
    assert "21,856,483" in done.stdout
