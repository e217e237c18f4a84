"""Several devices: simulated ones, in a process that is told so before JAX starts."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from chifoumi_jax import fit, load, recipes
from tests.commands import environment

CODE = """
import sys
import jax
from chifoumi_jax import fit, recipes
assert jax.device_count() == 3
recipe = recipes.RECIPES[sys.argv[1]]
size = {"image_size": 24} if recipe.model == "cnn" else {}
run = fit(recipe.replace(data=sys.argv[2], runs=sys.argv[3], epochs=2, **size), quiet=True)
print(run.directory)
"""


@pytest.mark.parametrize("name", ["cnn", "study-mlp"])
def test_three_devices_train_as_one_does(name: str, photos: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, name, photos, tmp_path / "three"],
        capture_output=True,
        text=True,
        env=environment(XLA_FLAGS="--xla_force_host_platform_device_count=3"),
    )
    assert done.returncode == 0, done.stderr
    recipe = recipes.RECIPES[name].replace(data=photos, runs=tmp_path / "one", epochs=2)
    one = fit(recipe.replace(**({"image_size": 24} if name == "cnn" else {})), quiet=True)
    three, single = load(done.stdout.strip()), load(one.directory)
    for left, right in zip(*map(jax.tree.leaves, (three.params, single.params)), strict=True):
        # Sums of float32 in another order move a weight by a share of its steps of up to 1e-3;
        # other noise or a lost image would move it by whole steps.
        np.testing.assert_allclose(left, right, atol=1e-4)
