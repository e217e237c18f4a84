"""Commands save compiled programs in the user's cache; the library does not."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.commands import WITHOUT_PICTURES, chifoumi, environment, run_code

# The recipe that compiles fastest.
FASTEST = ("--recipe", "study-mlp", "--epochs", "1")


def without_jax_settings(**changes: str) -> dict[str, str]:
    """This process' environment without JAX's own settings of its cache, with some changes."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    return others | changes


def train(photos: Path, runs: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    arguments = ("train", *FASTEST, "--data", photos, "--runs", runs, "--quiet")
    return chifoumi(*arguments, env=env, setup=WITHOUT_PICTURES)


def train_with_cache(photos: Path, runs: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    return train(photos, runs, without_jax_settings(XDG_CACHE_HOME=str(cache)))


@pytest.fixture(scope="module")
def folder(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the cache of one training, and its runs."""
    folder = tmp_path_factory.mktemp("trained")
    first = train_with_cache(photos, folder / "runs", folder / "cache")
    assert first.returncode == 0 and first.stderr == "", first.stderr
    return folder


def programs(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in (folder / "cache/chifoumi/compiled").glob("*-cache")}


def test_the_second_training_compiles_nothing(photos: Path, folder: Path) -> None:
    before = programs(folder)
    assert any("steps" in name for name in before)
    second = train_with_cache(photos, folder / "runs", folder / "cache")
    assert second.returncode == 0 and second.stderr == "", second.stderr
    assert programs(folder) == before


def test_a_damaged_program_is_compiled_again(photos: Path, folder: Path) -> None:
    (steps,) = (path for name, path in programs(folder).items() if "steps" in name)
    steps.write_bytes(steps.read_bytes()[:100])
    again = train_with_cache(photos, folder / "runs", folder / "cache")
    assert again.returncode == 0, again.stderr
    run = Path(again.stdout.splitlines()[-1])
    assert run.parent == folder / "runs" and (run / "results.json").exists()


def test_without_a_writable_cache_training_warns_and_works(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = train_with_cache(photos, tmp_path / "runs", tmp_path / "file")
    assert done.returncode == 0, done.stderr
    assert "compiled programs are not kept" in done.stderr


def test_the_own_setting_of_jax_has_priority(photos: Path, tmp_path: Path) -> None:
    # The cache that all tests share.
    assert Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).is_dir()
    done = train(photos, tmp_path / "runs", environment(XDG_CACHE_HOME=str(tmp_path / "cache")))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "cache" / "chifoumi" / "compiled").exists()


def test_the_library_saves_no_compiled_programs(photos: Path, tmp_path: Path) -> None:
    code = f"""
{WITHOUT_PICTURES}
import jax
from chifoumi_jax import fit, recipes
recipe = recipes.study_mlp.replace(augmentation="none")  # compiles faster
fit(recipe.replace(data={str(photos)!r}, runs={str(tmp_path / "runs")!r}, epochs=1), quiet=True)
print(jax.config.jax_compilation_cache_dir)
"""
    done = run_code(code, env=without_jax_settings(XDG_CACHE_HOME=str(tmp_path / "cache")))
    assert done.stdout == "None\n", done.stderr
    assert not (tmp_path / "cache" / "chifoumi" / "compiled").exists()
