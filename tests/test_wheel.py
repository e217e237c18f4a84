"""The built wheel, outside the checkout."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hatch_build
from chifoumi_jax.ops import native
from parity.originals.golden import Golden
from tests.commands import environment

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    built, _ = build(ROOT, out)
    return built


def build(checkout: Path, out: Path, **changes: str) -> tuple[Path, str]:
    """Build a wheel from a checkout; returns its path and the output of the build."""
    # Without isolation the kernels are compiled for this environment's jaxlib. The dependency check
    # is skipped, because it would ask for the oldest supported one.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    done = subprocess.run(
        [*command, "--skip-dependency-check", "--outdir", str(out), str(checkout)],
        capture_output=True,
        text=True,
        env=environment(**changes),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return built, done.stdout + done.stderr


# What only tests use; these files, and those whose names begin with "test_", are not installed.
TEST_HELPERS = ("conftest.py", "parametrised.py")


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {"chifoumi_jax", "parity", "reference"}
    assert {name.split("/")[0].split("-")[0] for name in names} == packages
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in (ROOT / package).rglob("*.py")
        if path.name not in TEST_HELPERS and not path.name.startswith("test_")
    }
    assert sources <= set(names)
    files = ("keras-2.2.4.npz", "torch-1.0.0.json", "systems-keras-2.2.4.npz")
    golden = {f"reference/legacy/golden/{name}" for name in files}
    assert golden | {f"{package}/py.typed" for package in packages} <= set(names)
    assert "chifoumi_jax/reports/page.html.jinja" in names
    assert not [name for name in names if "/test_" in name or name.endswith(TEST_HELPERS)]


def test_the_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    golden = ("keras-2.2.4", "torch-1.0.0")
    arrays = [len(Golden(name).names("")) for name in golden]
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import chifoumi_jax; print(chifoumi_jax.__file__)\n"
        "from parity.originals import golden; print(golden.__file__)\n"
        f"print([len(golden.Golden(name).names('')) for name in {golden!r}], 'golden arrays')\n"
        "from chifoumi_jax.ops import native; print('native:', native.instruction_set())\n"
        "from chifoumi_jax.cli import main; main(['summary'])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site))
    assert f"{site}/parity/originals/golden.py" in done.stdout
    assert f"{arrays} golden arrays" in done.stdout
    assert "21,856,483" in done.stdout
    assert f"native: {native.instruction_set()}" in done.stdout


def test_without_a_compiler_the_wheel_is_pure_python(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    kept = shutil.ignore_patterns(".*", "_native.*", "tests", "docs", "results", "*.pyc")
    shutil.copytree(ROOT, copy, ignore=kept)
    built, output = build(copy, tmp_path, CXX="no-such-compiler")
    assert "without its native kernels" in output
    assert built.name.endswith("-py3-none-any.whl")
    zipfile.ZipFile(built).extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import jax.numpy as jnp\n"
        "from chifoumi_jax.ops import conv_relu_pool, native\n"
        "print(native.absence, native.serves('float32'), native.use_instruction_set('baseline'))\n"
        "ones = map(jnp.ones, ((1, 6, 6, 3), (3, 3, 3, 2), (2,)))\n"
        "print(conv_relu_pool(*ones)[0, 0, 0])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "chifoumi-jax was installed without a C++ compiler False False",
        "[28. 28.]",
    ]


def test_the_same_sources_are_not_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A compiler that writes to the path after `-o`, and one line to the log for each such call.
    compiler, log, sources = tmp_path / "cc.py", tmp_path / "log", tmp_path / "cpp"
    compiler.write_text(
        "import sys; from pathlib import Path\n"
        f"log = open({str(log)!r}, 'a')\n"
        "if '-o' in sys.argv:\n"
        "    Path(sys.argv[sys.argv.index('-o') + 1]).write_text('compiled')\n"
        "    print('compiled', file=log)\n"
    )
    monkeypatch.setenv("CXX", f"{sys.executable} {compiler}")
    shutil.copytree(ROOT / hatch_build.SOURCES, sources)
    library = tmp_path / "library.so"

    def compiles() -> bool:
        log.write_text("")
        hatch_build.compile_library(sources, library)
        assert library.read_text() == "compiled"
        return bool(log.read_text())

    assert [compiles(), compiles()] == [True, False]
    library.write_text("damaged")
    assert [compiles(), compiles()] == [True, False]
    source = sources / hatch_build.HANDLERS[0]
    source.write_text(source.read_text() + "// another\n")
    assert [compiles(), compiles()] == [True, False]
    library.unlink()
    assert compiles()
