"""The user's objects are not changed, and importing the package loads no framework."""

import random
import subprocess
import sys
from typing import Any

import jax
import keras
import numpy as np
import pytest
import torch
from flax import nnx

import parity
from tests import port_lstm, port_resnet, port_upsampler


def _state(module: nnx.Module) -> list[Any]:
    leaves = jax.tree.leaves(nnx.state(module))
    keys = [jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    return [
        np.array(jax.random.key_data(leaf) if is_key else leaf)
        for leaf, is_key in zip(leaves, keys, strict=True)
    ]


def _generators() -> tuple[Any, ...]:
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


# The checks of types draw from Python's random generator.
@pytest.mark.usefixtures("unchecked_types")
def test_torch_and_nnx_modules_are_not_changed() -> None:
    reference = port_resnet.trained_reference()
    reference.train()
    reference.layer1.eval()
    seen: list[str] = []
    hook = reference.conv1.register_forward_hook(lambda *_: seen.append("conv1"))
    port = port_resnet.ResNet(nnx.Rngs(0))
    port.stem_norm.use_running_average = True
    weights = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    modes = [module.training for module in reference.modules()]
    hooks = [len(module._forward_hooks) for module in reference.modules()]
    types = [type(module) for _, module in nnx.iter_modules(port)]
    before = _state(port), _generators()

    parity.compare(port, reference, port_resnet.batch(), rungs=[1, 4, 5, 7])

    assert [module.training for module in reference.modules()] == modes
    assert [len(module._forward_hooks) for module in reference.modules()] == hooks
    for name, tensor in reference.state_dict().items():
        assert tensor.dtype == weights[name].dtype
        assert torch.equal(tensor, weights[name]), name
    assert all(p.grad is None for p in reference.parameters())
    assert [type(module) for _, module in nnx.iter_modules(port)] == types
    assert port.stem_norm.use_running_average
    assert not port.blocks[0].bn1.use_running_average
    for first, second in zip(before[0], _state(port), strict=True):
        np.testing.assert_array_equal(first, second)
    assert _generators() == before[1]
    hook.remove()


@pytest.mark.usefixtures("unchecked_types")
def test_keras_models_and_linen_variables_are_not_changed() -> None:
    reference = port_upsampler.reference()
    before = [variable.value.numpy() for variable in reference.variables]
    generators = _generators()
    settings = keras.config.floatx(), keras.config.dtype_policy().name
    port = port_upsampler.Upsampler(nnx.Rngs(0))
    parity.compare(port, reference, port_upsampler.batch(), rungs=[1, 5, 7])
    for first, variable in zip(before, reference.variables, strict=True):
        np.testing.assert_array_equal(first, variable.value.numpy())
    assert not any("call" in vars(layer) for layer in reference.layers)
    assert settings == (keras.config.floatx(), keras.config.dtype_policy().name)
    assert reference.get_layer("down").activation is keras.activations.relu
    assert _generators() == generators

    module, variables = port_lstm.linen_port()
    kept = jax.tree.map(np.array, variables)
    parity.compare((module, variables), port_lstm.reference(), port_lstm.batch(), rungs=[1, 9])
    jax.tree.map(np.testing.assert_array_equal, kept, variables)
    assert jax.numpy.ones(1).dtype == "float32"


def test_importing_parity_imports_no_framework_and_starts_no_device() -> None:
    code = (
        "import sys, parity\n"
        "heavy = {'tensorflow', 'keras', 'torch', 'jax', 'flax'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "parity.compare\n"
        "heavy = {'tensorflow', 'keras', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge._backends\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
