"""The installed packages, the cost of an import, and the public names."""

import subprocess
import sys

import pytest

from chifoumi_jax.environment import cuda_clash, require_installed
from chifoumi_jax.errors import UserError


@pytest.mark.parametrize(
    ("installed", "clashes"),
    [
        (["jax", "nvidia-cudnn-cu12", "nvidia-nccl-cu12"], False),
        (["torch", "nvidia-cudnn-cu13"], False),
        (["jax", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"], True),
        (["nvidia_nccl_cu12", "NVIDIA-NCCL-cu13"], True),
        (["nvidia-cublas-cu12", "nvidia-cublas"], False),
    ],
)
def test_wheels_of_cuda_12_and_13_that_overwrite_each_other_are_found(
    installed: list[str], clashes: bool
) -> None:
    found = cuda_clash(installed)
    assert (found is not None) == clashes
    if found:
        assert "cuda13,parity" in found


def test_this_environment_has_no_clash() -> None:
    assert cuda_clash() is None


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_imports_no_heavy_library() -> None:
    originals = ("tensorflow", "torch", "keras", "h5py", "safetensors")
    heavy = (*originals, "orbax", "grain", "matplotlib", "PIL", "tyro")
    code = f"""
import os, sys
before = dict(os.environ)
import chifoumi_jax, chifoumi_jax.convert
print([name for name in {heavy} if name in sys.modules])
import jax
from jax._src import xla_bridge
print(dict(os.environ) == before, xla_bridge.backends_are_initialized())
"""
    assert python(code).splitlines() == ["[]", "True False"]


def test_the_public_names_exist() -> None:
    code = """
from chifoumi_jax import CNN, MLP, count_params, fit, load, recipes
from chifoumi_jax.optim import keras_adam, torch_sgd
from chifoumi_jax.losses import categorical_crossentropy
from chifoumi_jax.data import scan, load_pixels
from chifoumi_jax.convert import from_keras, from_torch, to_keras, to_torch
import chifoumi_jax
print(all(hasattr(chifoumi_jax, name) for name in chifoumi_jax.__all__))
"""
    assert python(code) == "True"


def test_a_missing_package_is_named_with_its_extra() -> None:
    require_installed("crossval", "json", extra="crossval")
    message = r"crossval needs no_such_module: pip install 'chifoumi-jax\[crossval\]'"
    with pytest.raises(UserError, match=message):
        require_installed("crossval", "json", "no_such_module", extra="crossval")
