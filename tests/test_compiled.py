"""What is compiled is kept by the command line, in the user's cache, and by nobody else."""

import os
import subprocess
import sys
from pathlib import Path

from tests.commands import chifoumi

# The network that compiles soonest.
SOONEST = ("--recipe", "study-mlp", "--epochs", "1")


def clean(**changes: str) -> dict[str, str]:
    """This process' environment without JAX's own settings of its cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    return kept | changes


def train(photos: Path, runs: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return chifoumi(
        *("train", *SOONEST, "--data", photos, "--runs", runs, "--quiet"), env=clean(**changes)
    )


def test_the_second_start_compiles_nothing(photos: Path, tmp_path: Path) -> None:
    kept = tmp_path / "cache" / "chifoumi" / "compiled"

    def programs() -> set[str]:
        return {path.name for path in kept.glob("*-cache")}

    first = train(photos, tmp_path / "runs", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert first.returncode == 0, first.stderr
    found = programs()
    assert any("steps" in name for name in found)
    second = train(photos, tmp_path / "runs", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert second.returncode == 0, second.stderr
    assert programs() == found
    assert first.stderr == second.stderr == ""


def test_damaged_programs_are_compiled_again(photos: Path, tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert train(photos, tmp_path / "runs", **cache).returncode == 0
    for program in (tmp_path / "cache" / "chifoumi" / "compiled").glob("*-cache"):
        program.write_bytes(program.read_bytes()[:100])
    again = train(photos, tmp_path / "runs", **cache)
    assert again.returncode == 0, again.stderr
    assert again.stdout.endswith("study-mlp-2\n")


def test_without_a_cache_it_says_so_and_works(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = train(photos, tmp_path / "runs", XDG_CACHE_HOME=str(tmp_path / "file"))
    assert done.returncode == 0, done.stderr
    assert "what is compiled will not be kept" in done.stderr


def test_jax_own_setting_goes_first(photos: Path, tmp_path: Path) -> None:
    own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")}
    done = train(photos, tmp_path / "runs", XDG_CACHE_HOME=str(tmp_path / "cache"), **own)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "cache" / "chifoumi" / "compiled").exists()


def test_the_library_keeps_nothing(photos: Path, tmp_path: Path) -> None:
    code = f"""
import jax
from chifoumi_jax import fit, recipes
fit(recipes.study_mlp.replace(data={str(photos)!r}, runs={str(tmp_path / "runs")!r}, epochs=1),
    quiet=True)
print(jax.config.jax_compilation_cache_dir)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=clean(XDG_CACHE_HOME=str(tmp_path / "cache")),
    )
    assert done.stdout == "None\n", done.stderr
    assert not (tmp_path / "cache" / "chifoumi" / "compiled").exists()
