"""Weights from and to the real PyTorch, bit for bit."""

import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chifoumi_jax import MLP
from chifoumi_jax.convert import WeightsError, from_torch, to_torch
from chifoumi_jax.convert.arrays import mlp_to_arrays
from tests.weights import (
    Arrays,
    assert_same_bits,
    mlp,
    mlp_arrays,
    torch_arrays,
    torch_module,
    without_extremes,
)

BEFORE_1_6 = {"_use_new_zipfile_serialization": False}


def tensors(arrays: Arrays) -> dict[str, Any]:
    import torch

    return OrderedDict((name, torch.tensor(array)) for name, array in arrays.items())


def save(path: Path, value: Any, **options: Any) -> Path:
    import torch

    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("options", [{}, BEFORE_1_6])
@pytest.mark.parametrize("name", ["x.pt", "x.pth", "né 手.PT"])
def test_state_dicts_round_trip_from_torch_to_jax_and_back(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    original = torch_module(5, mlp_arrays(5))
    model = from_torch(save(tmp_path / name, original.state_dict(), **options))
    assert isinstance(model, MLP)
    assert (model.num_classes, model.dropout_rate, model.relu_logits) == (5, 0.2, False)
    assert_same_bits(mlp_to_arrays(model), mlp_arrays(5))
    to_torch(model, tmp_path / "back.safetensors")
    back = torch_module(5)
    back.load_state_dict(load_file(tmp_path / "back.safetensors"))
    assert_same_bits(torch_arrays(back), mlp_arrays(5))


def test_a_safetensors_file_of_torch_is_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(tensors(mlp_arrays()), tmp_path / "x.safetensors", metadata={"format": "pt"})
    model = from_torch(str(tmp_path / "x.safetensors"), relu_logits=True, dropout_rate=0)
    assert (model.relu_logits, model.dropout_rate) == (True, 0)
    assert_same_bits(mlp_to_arrays(model), mlp_arrays())


def test_mappings_and_modules_round_trip() -> None:
    module = torch_module(3, mlp_arrays())
    parameters = dict(module.named_parameters())
    for source in (module, module.state_dict(), parameters, mlp_arrays()):
        assert_same_bits(mlp_to_arrays(from_torch(source)), mlp_arrays())
    target = torch_module()
    to_torch(mlp(), target)
    assert_same_bits(torch_arrays(target), mlp_arrays())


def test_the_model_does_not_share_the_modules_memory() -> None:
    module = torch_module(3, mlp_arrays())
    model = from_torch(module)
    for parameter in module.parameters():
        parameter.data.zero_()
    assert_same_bits(mlp_to_arrays(model), mlp_arrays())


@pytest.mark.parametrize("options", [{}, BEFORE_1_6])
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
def test_weights_are_found_in_a_training_checkpoint(
    key: str, options: dict[str, Any], tmp_path: Path
) -> None:
    import torch

    module = torch_module(3, mlp_arrays())
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.zeros(1, 32, 32)).sum().backward()
    optimizer.step()
    state = module.state_dict()
    for name, array in mlp_arrays().items():
        state[name].copy_(torch.tensor(array))
    checkpoint = {key: state, "epoch": 3, "best": 0.5, "note": "é", "optimizer": None}
    checkpoint["optimizer"] = optimizer.state_dict()
    path = save(tmp_path / "x.pt", checkpoint, **options)
    assert_same_bits(mlp_to_arrays(from_torch(path)), mlp_arrays())


def test_parameters_and_views_are_read(tmp_path: Path) -> None:
    """A transposed view keeps its order; from a slice of a tensor only the slice is read."""
    import torch

    found = tensors(mlp_arrays())
    found["fc1.weight"] = torch.nn.Parameter(found["fc1.weight"].T.contiguous().T)
    found["fc1.bias"] = torch.cat([found["fc1.bias"], torch.ones(7)])[:64]
    for options in ({}, BEFORE_1_6):
        path = save(tmp_path / "x.pt", found, **options)
        assert_same_bits(mlp_to_arrays(from_torch(path)), mlp_arrays())


def test_logits_agree() -> None:
    import torch

    module = torch_module(3, without_extremes(mlp_arrays()))
    images = np.random.default_rng(0).random((5, 32, 32), np.float32)
    with torch.no_grad():
        expected = module(torch.tensor(images)).numpy()
    assert np.ptp(expected) > 1
    # Sums of up to 1,024 float32 products in another order, on values up to 5; measured 1e-6.
    found = from_torch(module)(jnp.asarray(images))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    clipped = from_torch(module, relu_logits=True)(jnp.asarray(images))
    np.testing.assert_array_equal(clipped, np.maximum(found, 0))


def test_float64_round_trips(tmp_path: Path) -> None:
    arrays = mlp_arrays(dtype="float64")
    path = save(tmp_path / "x.pt", tensors(arrays))
    with jax.enable_x64(True):
        model = from_torch(path, dtype=jnp.float64)
        to_torch(model, tmp_path / "x.safetensors")
        for source in (path, tmp_path / "x.safetensors"):
            assert_same_bits(mlp_to_arrays(from_torch(source, dtype="float64")), arrays)
        double = torch_module().double()
        to_torch(model, double)
        assert_same_bits(torch_arrays(double), arrays)
        with pytest.raises(WeightsError, match="is float32; expected float64"):
            to_torch(model, torch_module())
    for source in (path, tmp_path / "x.safetensors"):
        with pytest.raises(WeightsError, match="is float64; expected float32"):
            from_torch(source)


def test_other_tensors_are_refused() -> None:
    import torch

    valid = tensors(mlp_arrays())
    bias = valid["fc1.bias"]
    for tensor, message in (
        (bias.to_sparse(), "fc1.bias is sparse, or holds no values"),
        (bias.to("meta"), "fc1.bias is sparse, or holds no values"),
        (bias.half(), "fc1.bias is float16; expected float32"),
        (bias.bfloat16(), "fc1.bias is bfloat16"),
        (bias.to(torch.complex64), "fc1.bias is complex64"),
        (torch.zeros(1).expand(2**40), r"fc1.bias has shape \(1099511627776,\)"),
        (torch.full((64,), torch.nan), r"fc1.bias is nan at \[0\]"),
        (3, "fc1.bias is of the type int; expected an array"),
    ):
        with pytest.raises(WeightsError, match=f"the state dict: {message}"):
            from_torch({**valid, "fc1.bias": tensor})


def test_other_modules_stay_unchanged() -> None:
    import torch

    for target, message in (
        (torch_module(4), r"fc3.weight has shape \(4, 32\); expected \(3, 32\)"),
        (torch_module().half(), "fc1.weight is float16; expected float32"),
        (torch.nn.Linear(1024, 64), "fc1.weight is missing; found weight, bias"),
        (torch.nn.Sequential(torch_module()), "fc1.weight is missing; found 0.fc1.weight"),
    ):
        before = torch_arrays(target)
        before = {name: array.copy() for name, array in before.items()}
        with pytest.raises(WeightsError, match=f"the PyTorch model: {message}"):
            to_torch(mlp(), target)
        assert_same_bits(torch_arrays(target), before)


@pytest.mark.usefixtures("unchecked_types")
def test_other_sources_and_targets_are_a_type_error() -> None:
    for thing in (None, 3, b"x.pt", object()):
        with pytest.raises(TypeError, match="expected a path, a state dict or a PyTorch module"):
            from_torch(thing)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="expected a path or a PyTorch module"):
            to_torch(mlp(), thing)  # type: ignore[arg-type]


def test_only_safetensors_are_written(tmp_path: Path) -> None:
    for name, message in (
        ("x.pt", r"must end in \.safetensors; pickles are not written"),
        ("absent/x.safetensors", "No such file"),
    ):
        with pytest.raises(WeightsError, match=message):
            to_torch(mlp(), tmp_path / name)
    assert not list(tmp_path.iterdir())
    path = tmp_path / "x.safetensors"
    path.write_text("old")
    to_torch(mlp(), path)
    first = path.read_bytes()
    to_torch(mlp(), path)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


CODE = """
import sys
from chifoumi_jax.convert import WeightsError, from_torch
from_torch(sys.argv[1])
print("torch" in sys.modules)
sys.modules["torch"] = None
try:
    from_torch(sys.argv[2])
except WeightsError as error:
    print(error)
"""


def test_only_pt_files_need_torch(tmp_path: Path) -> None:
    """A safetensors file needs no PyTorch; a `.pt` file without PyTorch gives a clear error."""
    to_torch(mlp(), tmp_path / "x.safetensors")
    path = save(tmp_path / "x.pt", tensors(mlp_arrays()))
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path / "x.safetensors", path],
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first == "False"
    assert "is not installed: pip install torch, or save the weights as .safetensors" in second
