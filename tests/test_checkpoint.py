"""Checkpoints: saving, loading, damage and removal."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chifoumi_jax.training import checkpoint
from chifoumi_jax.training.checkpoint import CheckpointError


def trees(seed: int) -> dict[str, Any]:
    a, b = jax.random.normal(jax.random.key(seed), (2, 5))
    return {"params": {"kernel": a, "bias": b}, "step": jnp.asarray(seed, jnp.int32)}


def abstract(tree: Any) -> Any:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def save_steps(directory: Path, *steps: int) -> None:
    for step in steps:
        checkpoint.save(directory, step, trees(step), {"epoch": step, "best_step": 1, "x": 0.1})


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_checkpoint_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    save_steps(tmp_path, 3)
    loaded, progress = checkpoint.load(tmp_path / "00000003", abstract(trees(0)))
    jax.tree.map(np.testing.assert_array_equal, loaded, trees(3))
    assert progress == {"epoch": 3, "best_step": 1, "x": 0.1}


def test_single_trees_can_be_loaded(tmp_path: Path) -> None:
    save_steps(tmp_path, 3)
    loaded, _ = checkpoint.load(tmp_path / "00000003", {"params": abstract(trees(0)["params"])})
    assert set(loaded) == {"params"}


def test_newest_finds_the_newest_checkpoint(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) == (None, [])
    save_steps(tmp_path, 1, 2)
    assert checkpoint.newest(tmp_path) == (2, [])


def _largest(folder: Path) -> Path:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: damage(_largest(folder / "trees")), "has changed since it was saved"),
        (lambda folder: damage(folder / "progress.json"), "has changed since it was saved"),
        (lambda folder: (folder / "progress.json").unlink(), "lacks files"),
        (lambda folder: (folder / "extra").write_text(""), "lacks files"),
        (lambda folder: (folder / "manifest.json").unlink(), "no manifest"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "cannot be read"),
        (
            lambda folder: (folder / "manifest.json").write_text('{"version": 99, "sha256": {}}'),
            "format 99",
        ),
        (lambda folder: shutil.rmtree(folder / "trees"), "lacks files"),
    ],
)
def test_a_damaged_checkpoint_is_skipped(tmp_path: Path, harm: Any, message: str) -> None:
    save_steps(tmp_path, 1, 2)
    harm(tmp_path / "00000002")
    step, problems = checkpoint.newest(tmp_path)
    assert step == 1
    assert len(problems) == 1
    assert message in problems[0]
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(tmp_path / "00000002", abstract(trees(0)))


def test_an_unfinished_checkpoint_is_ignored_and_removed(tmp_path: Path) -> None:
    save_steps(tmp_path, 1)
    shutil.copytree(tmp_path / "00000001", tmp_path / ".00000002.123.tmp")
    assert checkpoint.newest(tmp_path) == (1, [])
    checkpoint.prune(tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]


def test_prune_keeps_the_two_newest_and_the_best(tmp_path: Path) -> None:
    save_steps(tmp_path, 1, 2, 3, 4, 5)
    checkpoint.prune(tmp_path, best=2)
    assert checkpoint.steps(tmp_path) == [2, 4, 5]
    assert checkpoint.best(tmp_path, 5) == 1


def test_a_failed_save_is_an_error_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_steps(tmp_path, 1)

    def no_space(path: Path, value: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(checkpoint, "write_json", no_space)
    with pytest.raises(CheckpointError, match="No space left"):
        save_steps(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["00000001"]
    assert checkpoint.newest(tmp_path) == (1, [])


def test_loading_other_shapes_is_an_error(tmp_path: Path) -> None:
    save_steps(tmp_path, 1)
    wanted = abstract({"params": {"kernel": jnp.zeros(7), "bias": jnp.zeros(5)}})
    with pytest.raises(CheckpointError, match="does not hold"):
        checkpoint.load(tmp_path / "00000001", wanted)


def test_the_manifest_names_every_file(tmp_path: Path) -> None:
    save_steps(tmp_path, 1)
    folder = tmp_path / "00000001"
    in_manifest = set(json.loads((folder / "manifest.json").read_text())["sha256"])
    existing = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert existing == in_manifest | {"manifest.json"}
