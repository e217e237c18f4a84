"""Compares the GPU kernels with XLA: compiled on a Hopper GPU, otherwise interpreted."""

import importlib
import re
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Array

from chifoumi_jax.ops import pallas_gpu, xla
from chifoumi_jax.ops.pooling import CLOSED

# Imported by name, because the package has a function with the module's name.
operation: Any = importlib.import_module("chifoumi_jax.ops.conv_relu_pool")
implementation = pallas_gpu.implementation if operation._has_hopper() else pallas_gpu.interpreted

PRECISIONS = ("float32", "tensorfloat32")


def draw(
    shape: tuple[int, ...], out: int, seed: int = 0, whole_numbers: bool = False
) -> tuple[Array, Array, Array]:
    random = np.random.default_rng(seed)

    def values(*shape: int) -> Array:
        drawn = random.integers(-1, 2, shape) if whole_numbers else random.normal(size=shape)
        return jnp.asarray(drawn, jnp.float32)

    return values(*shape), values(3, 3, shape[3], out), values(out)


def results(implementation: Any, images: Array, kernel: Array, bias: Array) -> dict[str, Array]:
    """Returns all results of the passes that a training step uses."""
    pooled, winner = implementation.forward(images, kernel, bias)
    random = np.random.default_rng(0)
    gradient = jnp.asarray(random.integers(-2, 3, pooled.shape), pooled.dtype)
    of_kernel, of_bias = implementation.weight_gradients(images, kernel, gradient, winner)
    found = {"pooled": pooled, "winner": winner, "of kernel": of_kernel, "of bias": of_bias}
    if images.shape[3] > 3:
        found["of images"] = implementation.image_gradient(images, kernel, gradient, winner)
    return found


# Compiling takes all of the time, so there are few examples; sizes are odd or even, and need one
# tile or several.
@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(
    shape=st.tuples(
        st.integers(1, 2), st.integers(4, 9), st.integers(4, 150), st.sampled_from([3, 16, 32])
    ),
    out=st.sampled_from([16, 32, 64]),
    seed=st.integers(0, 2**31),
)
def test_sums_of_whole_numbers_equal_xla_bit_for_bit(
    precision: str, shape: tuple[int, ...], out: int, seed: int
) -> None:
    # Such sums are exact in any order and precision, and have many ties and zeros.
    arguments = draw(shape, out, seed, whole_numbers=True)
    assert pallas_gpu.can_serve(*arguments[:2])
    with jax.default_matmul_precision(precision):
        ours = results(implementation, *arguments)
    for name, expected in results(xla.implementation, *arguments).items():
        np.testing.assert_array_equal(ours[name], expected, err_msg=name)


@pytest.mark.parametrize("channels", [3, 32])
def test_float32_equals_xla_up_to_rounding(channels: int) -> None:
    arguments = draw((2, 12, 15, channels), out=32)
    with jax.default_matmul_precision("float32"):
        ours, theirs = (
            results(passes, *arguments) for passes in (implementation, xla.implementation)
        )
    for name, expected in theirs.items():
        # Sums of a few hundred terms, with rounding errors of a few times 2 ** -24 of the largest.
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(ours[name], expected, rtol=1e-5, atol=1e-6 * scale, err_msg=name)


def test_bfloat16_sums_in_float32() -> None:
    images, kernel, bias = (a.astype(jnp.bfloat16) for a in draw((1, 8, 9, 32), out=32))
    ours = results(implementation, images, kernel, bias)
    images, kernel, bias = (a.astype(jnp.float32) for a in (images, kernel, bias))
    exact = results(xla.implementation, images, kernel, bias)
    for name in ("pooled", "of kernel", "of images"):
        assert ours[name].dtype == jnp.bfloat16
        # Only the final result is rounded to eight bits.
        scale = float(jnp.abs(exact[name]).max())
        got = ours[name].astype(jnp.float32)
        np.testing.assert_allclose(got, exact[name], rtol=2**-8, atol=1e-6 * scale, err_msg=name)


@pytest.mark.parametrize("channels", [3, 32])
def test_equal_patches_tie(channels: int) -> None:
    # One colour: in float32 the four values tie only if each is summed in the same order.
    random = np.random.default_rng(0)
    images = jnp.broadcast_to(
        jnp.asarray(random.random(channels), jnp.float32), (2, 8, 8, channels)
    )
    kernel = jnp.asarray(random.normal(size=(3, 3, channels, 16)) / 17, jnp.float32)
    _, winner = implementation.forward(images, kernel, jnp.ones(16))
    assert set(np.unique(winner)) <= {0, CLOSED}


def test_nan_is_kept() -> None:
    images, kernel, bias = draw((1, 4, 6, 3), out=16)
    for row, column in ((0, 0), (2, 1), (3, 3)):
        pooled, winner = implementation.forward(
            images.at[0, row, column, 1].set(jnp.nan), kernel, bias
        )
        assert np.isnan(pooled[0, 0, 0]).all()
        assert (winner[0, 0, 0] == CLOSED).all()


def test_no_maximum_is_taken_after_nan_is_restored() -> None:
    # Compiled, the maximum of NaN and zero is zero; interpreted, it is NaN.
    arguments = draw((1, 8, 8, 16), out=16)
    body = str(jax.make_jaxpr(pallas_gpu.implementation.forward)(*arguments))
    assert "pallas_call" in body and "reduce_max" in body
    assert re.search(r"= max\b", body) is None


@pytest.mark.parametrize("channels", [3, 16])
def test_programs_with_several_rows_sum_every_row(
    channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With 3 channels, 7 programs share 3 x 5 rows of windows, so some have one row more. With 16
    # channels there is one program for each row of pixels.
    monkeypatch.setattr(pallas_gpu, "PROGRAMS", 7)
    arguments = draw((3, 13, 70, channels), out=16, whole_numbers=True)
    ours, theirs = (results(passes, *arguments) for passes in (implementation, xla.implementation))
    for name, expected in theirs.items():
        np.testing.assert_array_equal(ours[name], expected, err_msg=name)


def test_offsets_are_32_bits_even_if_jax_has_64_bits() -> None:
    with jax.enable_x64(True):
        arguments = draw((1, 8, 9, 16), out=16, whole_numbers=True)
        ours, theirs = (
            results(passes, *arguments) for passes in (implementation, xla.implementation)
        )
        for name, expected in theirs.items():
            np.testing.assert_array_equal(ours[name], expected, err_msg=name)
            assert ours[name].dtype == expected.dtype


@pytest.mark.parametrize("precision", ["F32_F32_F32", "BF16_BF16_F32_X6", "bfloat16"])
def test_other_precisions_are_left_to_xla(precision: str) -> None:
    images, kernel, _ = draw((1, 8, 8, 3), out=16)
    assert pallas_gpu.can_serve(images, kernel)
    with jax.default_matmul_precision(precision):
        assert not pallas_gpu.can_serve(images, kernel)


def test_an_export_for_any_number_of_images_is_left_to_xla(hopper: None) -> None:
    (batch,) = jax.export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, 8, 8, 3), jnp.float32)
    _, kernel, bias = draw((1, 8, 8, 3), out=16)
    network = jax.jit(lambda images: operation.conv_relu_pool(images, kernel, bias))
    exported = jax.export.export(network, platforms=("cuda", "tpu"))(images)
    assert "triton" not in exported.mlir_module()


@pytest.mark.parametrize(
    ("shape", "out", "dtype"),
    [
        ((0, 8, 8, 3), 32, jnp.float32),
        ((1, 8, 8, 4), 32, jnp.float32),
        ((1, 8, 8, 3), 24, jnp.float32),
        ((1, 8, 8, 3), 32, jnp.float16),
        # Its offsets do not fit into 32 bits.
        ((25, 4000, 4000, 3), 32, jnp.float32),
    ],
)
def test_other_arrays_are_left_to_xla(shape: tuple[int, ...], out: int, dtype: Any) -> None:
    images = jax.ShapeDtypeStruct(shape, dtype)
    kernel = jax.ShapeDtypeStruct((3, 3, shape[3], out), dtype)
    # Only shapes are needed; one of the arrays would take five gigabytes.
    assert not pallas_gpu.can_serve(images, kernel)  # type: ignore[arg-type]


def lowered(precision: str, dtype: Any) -> str:
    """Lowers the first two layers with their gradients, as for an H100."""
    arrays = [
        jax.ShapeDtypeStruct(shape, dtype)
        for shape in ((2, 30, 30, 3), (3, 3, 3, 32), (32,), (3, 3, 32, 32), (32,))
    ]

    def loss(images: Array, *weights: Array) -> Array:
        first = operation.conv_relu_pool(images, *weights[:2])
        return operation.conv_relu_pool(first, *weights[2:]).astype(jnp.float32).sum()

    with jax.default_matmul_precision(precision):
        traced = jax.jit(jax.grad(loss, argnums=(1, 2, 3, 4))).trace(*arrays)
    return traced.lower(lowering_platforms=("cuda",)).as_text()


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretends that there is an H100, which is enough to trace and lower but not to run."""
    monkeypatch.setattr(operation, "_has_hopper", lambda: True)
    sharding = jax.sharding
    if not hasattr(sharding, "AbstractDevice"):
        # An older JAX assumes such a GPU if it finds none.
        yield
        return
    card: Any = {"device_kind": "NVIDIA H100 80GB HBM3", "num_cores": None}
    try:
        device = sharding.AbstractDevice(**card, platform="cuda")
    except TypeError:
        yield
        return
    with sharding.use_abstract_mesh(sharding.AbstractMesh((), (), abstract_device=device)):
        yield


@pytest.mark.parametrize(
    ("precision", "dtype", "kernels"),
    [
        # Two forward passes and two weight gradients; in float32 also the second image gradient.
        ("float32", jnp.float32, 5),
        ("tensorfloat32", jnp.float32, 4),
        ("float32", jnp.bfloat16, 4),
    ],
)
def test_a_training_step_uses_tiles_on_a_hopper_gpu(
    hopper: None, precision: str, dtype: Any, kernels: int
) -> None:
    assert lowered(precision, dtype).count("xla.gpu.triton") == kernels


def test_without_triton_xla_is_used(hopper: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax.experimental.pallas.triton", None)
    monkeypatch.delitem(sys.modules, "chifoumi_jax.ops.pallas_gpu")
    monkeypatch.delattr("chifoumi_jax.ops.pallas_gpu")
    monkeypatch.delattr("jax.experimental.pallas.triton")
    assert "triton" not in lowered("float32", jnp.float32)


def test_a_training_step_uses_no_tiles_on_other_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "_has_hopper", lambda: False)
    assert "triton" not in lowered("float32", jnp.float32)
