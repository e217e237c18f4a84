"""Checks with AddressSanitizer that the native kernels stay inside their arrays."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from chifoumi_jax.ops import native

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "chifoumi_jax" / "ops" / "cpp"
COMPILER = shutil.which("c++")
FLAGS = {"x86-64-v4": "-march=x86-64-v4", "x86-64-v3": "-march=x86-64-v3", "baseline": ""}


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
@pytest.mark.parametrize(
    ("source", "name", "real"),
    [
        ("kernels", "x86-64-v4", "float"),
        ("kernels", "x86-64-v3", "float"),
        pytest.param("kernels", "baseline", "float", marks=pytest.mark.long),
        ("kernels", "baseline", "double"),
        # The widest and the narrowest vectors; the others differ only in the number of lanes.
        ("depthwise", "x86-64-v4", "float"),
        ("depthwise", "baseline", "double"),
    ],
)
def test_kernels_stay_inside_their_arrays(
    source: str, name: str, real: str, tmp_path: Path
) -> None:
    if name != "baseline" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("not an x86 processor")
    before = native.instruction_set()
    if before and not native.use_instruction_set(name):
        pytest.skip(f"this processor has no {name}")
    native.use_instruction_set(before or name)

    # -O1 pays off only for `kernels`, whose largest shapes take longer than the optimisation.
    level = {"kernels": "-O1", "depthwise": "-O0"}[source]
    flags = ["-std=c++17", level, "-Wno-psabi", "-fsanitize=address,undefined"]
    flags += ["-fno-sanitize-recover=all", f"-DREAL={real}", "-DVARIANT=sanitized", f"-I{SOURCES}"]
    program = tmp_path / "sanitized"
    sources = [Path(__file__).parent / f"sanitize_{source}.cc", SOURCES / f"{source}.cc"]
    compiled = subprocess.run(
        [str(COMPILER), *filter(None, [FLAGS[name]]), *flags, *sources, "-o", program],
        capture_output=True,
        text=True,
    )
    assert compiled.returncode == 0, compiled.stderr
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.stdout == "200 shapes\n", done.stderr
