"""Commands save compiled programs in the user's cache; the library does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import chifoumi

# The recipe that compiles fastest.
FASTEST = ("--recipe", "study-mlp", "--epochs", "1")


def without_jax_settings(**changes: str) -> dict[str, str]:
    """This process' environment without JAX's own settings of its cache, with some changes."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    return others | changes


def train(photos: Path, runs: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return chifoumi(
        *("train", *FASTEST, "--data", photos, "--runs", runs, "--quiet"),
        env=without_jax_settings(**changes),
    )


@pytest.fixture(scope="module")
def folder(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the cache of one training, and its runs."""
    folder = tmp_path_factory.mktemp("trained")
    first = train(photos, folder / "runs", XDG_CACHE_HOME=str(folder / "cache"))
    assert first.returncode == 0 and first.stderr == "", first.stderr
    return folder


def programs(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in (folder / "cache/chifoumi/compiled").glob("*-cache")}


def test_the_second_training_compiles_nothing(photos: Path, folder: Path) -> None:
    before = programs(folder)
    assert any("steps" in name for name in before)
    second = train(photos, folder / "runs", XDG_CACHE_HOME=str(folder / "cache"))
    assert second.returncode == 0 and second.stderr == "", second.stderr
    assert programs(folder) == before


def test_damaged_programs_are_compiled_again(photos: Path, folder: Path) -> None:
    for program in programs(folder).values():
        program.write_bytes(program.read_bytes()[:100])
    again = train(photos, folder / "runs", XDG_CACHE_HOME=str(folder / "cache"))
    assert again.returncode == 0, again.stderr
    run = Path(again.stdout.splitlines()[-1])
    assert run.parent == folder / "runs" and (run / "results.json").exists()


def test_without_a_writable_cache_training_warns_and_works(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = train(photos, tmp_path / "runs", XDG_CACHE_HOME=str(tmp_path / "file"))
    assert done.returncode == 0, done.stderr
    assert "compiled programs are not kept" in done.stderr


def test_the_own_setting_of_jax_has_priority(photos: Path, tmp_path: Path) -> None:
    own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")}
    done = train(photos, tmp_path / "runs", XDG_CACHE_HOME=str(tmp_path / "cache"), **own)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "cache" / "chifoumi" / "compiled").exists()


def test_the_library_saves_no_compiled_programs(photos: Path, tmp_path: Path) -> None:
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
        env=without_jax_settings(XDG_CACHE_HOME=str(tmp_path / "cache")),
    )
    assert done.stdout == "None\n", done.stderr
    assert not (tmp_path / "cache" / "chifoumi" / "compiled").exists()
