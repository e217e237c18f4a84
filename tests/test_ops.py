"""Compares `conv_relu_pool` with loops in NumPy float64, and its implementations."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jaxtyping import Array, Float

from chifoumi_jax.ops import conv_relu_pool, conv_relu_pool_lax, native, xla_blocked
from chifoumi_jax.ops.conv_relu_pool import differentiable
from tests.kernels import needs_native, outputs_by_core_count

# NumPy arrays, which JAX accepts as its own.
Arrays = tuple[Any, ...]
Operation = Callable[..., Float[Array, "batch rows columns out"]]

IMPLEMENTATIONS: dict[str, Operation] = {
    **{
        name: differentiable(native.implementation)
        for name in ("x86-64-v4", "x86-64-v3", "baseline")
    },
    "xla_blocked": differentiable(xla_blocked.implementation),
    "xla": conv_relu_pool_lax,
}

each_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
native_only = pytest.mark.parametrize(
    "implementation", [name for name in IMPLEMENTATIONS if name not in ("xla_blocked", "xla")]
)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.fixture
def operation(implementation: str) -> Iterator[Operation]:
    """One implementation of the operation; for native kernels, one instruction set."""
    before = native.instruction_set()
    is_native = implementation not in ("xla_blocked", "xla")
    if is_native and not native.use_instruction_set(implementation):
        pytest.skip(native.absence or f"this processor has no {implementation}")
    yield IMPLEMENTATIONS[implementation]
    if before:
        native.use_instruction_set(before)


def reference(images: Any, kernel: Any, bias: Any, weight: Any) -> tuple[np.ndarray, Arrays]:
    """Returns the result and the three gradients of `(result * weight).sum()`, window by window."""
    batch, height, width, _ = images.shape
    rows, columns = (height - 2) // 2, (width - 2) // 2
    result = np.zeros((batch, rows, columns, kernel.shape[3]))
    gradients = np.zeros_like(images), np.zeros_like(kernel), np.zeros_like(bias)
    for image, row, column, out in np.ndindex(result.shape):
        corners = [(2 * row + y, 2 * column + x) for y in range(2) for x in range(2)]
        patches = [(image, slice(y, y + 3), slice(x, x + 3)) for y, x in corners]
        values = [np.sum(images[patch] * kernel[..., out]) + bias[out] for patch in patches]
        first = int(np.argmax(values))
        if values[first] <= 0:
            continue
        result[image, row, column, out] = values[first]
        share = weight[image, row, column, out]
        gradients[0][patches[first]] += share * kernel[..., out]
        gradients[1][..., out] += share * images[patches[first]]
        gradients[2][out] += share
    return result, gradients


def results(operation: Operation, arguments: Arrays, weight: np.ndarray) -> tuple[Any, Arrays]:
    """Returns the same as `reference`, from one program that is compiled at each call."""

    def both(arguments: Arrays, weight: Array) -> tuple[Array, Arrays]:
        result, pull_back = jax.vjp(operation, *arguments)
        return result, pull_back(weight.astype(result.dtype))

    return jax.jit(both)(arguments, weight)


def random_case(
    shape: tuple[int, ...], out: int, seed: int = 0, whole_numbers: bool = False
) -> tuple[Arrays, np.ndarray]:
    """Returns images, kernel and bias, and the weights of the result."""
    random = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        if whole_numbers:
            return random.integers(-1, 2, shape).astype(float)
        return random.normal(size=shape)

    batch, height, width, channels = shape
    arguments = draw(*shape), draw(3, 3, channels, out), draw(out)
    weight = random.normal(size=(batch, (height - 2) // 2, (width - 2) // 2, out))
    return arguments, weight


def assert_equals_reference(operation: Operation, arguments: Arrays, weight: np.ndarray) -> None:
    images, kernel, bias = arguments
    result, expected = reference(images, kernel, bias, weight)
    ours, gradients = results(operation, arguments, weight)
    # Sums of some thousand terms of order 1 at most: float64 rounding is below 1e-12.
    np.testing.assert_allclose(ours, result, rtol=1e-12, atol=1e-12)
    for got, want in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


# The fixture may be shared by all examples of a test.
example_settings = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@each_implementation
@example_settings
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(4, 11), st.integers(4, 11), st.integers(1, 4)),
    out=st.integers(1, 4),
    seed=st.integers(0, 2**31),
    whole_numbers=st.booleans(),
)
def test_equals_the_reference_on_any_shape(
    operation: Operation, shape: tuple[int, ...], out: int, seed: int, whole_numbers: bool
) -> None:
    # Whole numbers in -1..1 give all kinds of ties, and sums without rounding.
    assert_equals_reference(operation, *random_case(shape, out, seed, whole_numbers))


@native_only
@example_settings
@given(
    shape=st.tuples(st.integers(1, 18), st.integers(4, 20), st.integers(4, 90), st.integers(1, 70)),
    out=st.integers(1, 70),
    seed=st.integers(0, 2**31),
)
def test_native_kernels_equal_xla_bit_for_bit(
    operation: Operation, shape: tuple[int, ...], out: int, seed: int
) -> None:
    # Sums of whole numbers are exact in any order, so tiles, blocks and tails of all sizes must
    # give the same bits, and the same winners of the many ties, in both precisions.
    arguments, weight = random_case(shape, out, seed, whole_numbers=True)
    weight = np.random.default_rng(seed).integers(-2, 3, weight.shape).astype(float)
    result, expected = results(conv_relu_pool_lax, arguments, weight)
    for dtype in (np.float32, np.float64):
        typed = tuple(array.astype(dtype) for array in arguments)
        ours, gradients = results(operation, typed, weight)
        for got, want in zip((ours, *gradients), (result, *expected), strict=True):
            np.testing.assert_array_equal(got, want)


@native_only
def test_native_kernels_work_under_vmap(operation: Operation) -> None:
    (images, kernel, bias), weight = random_case((4, 9, 8, 2), out=3)

    def weighted(image: Array, kernel: Array, weight: Array) -> Array:
        return (operation(image[None], kernel, bias)[0] * weight).sum()

    per_image = jax.vmap(jax.grad(weighted, 1), (0, None, 0))(images, kernel, weight)
    _, (_, expected, _) = reference(images, kernel, bias, weight)
    # As in `assert_equals_reference`: float64 rounding.
    np.testing.assert_allclose(per_image.sum(0), expected, rtol=1e-12, atol=1e-12)


@each_implementation
def test_nan_is_kept(operation: Operation) -> None:
    (images, kernel, bias), _ = random_case((1, 4, 6, 3), out=2)
    for place in np.ndindex(4, 4):
        with_nan = images.copy()
        with_nan[0, *place, 1] = np.nan
        assert np.isnan(operation(with_nan, kernel, bias)[0, 0, 0]).all(), place


@each_implementation
def test_an_empty_batch_has_zero_gradients(operation: Operation) -> None:
    arguments, weight = random_case((0, 8, 8, 2), out=3)
    result, (of_images, of_kernel, of_bias) = results(operation, arguments, weight)
    assert result.shape == (0, 3, 3, 3)
    assert of_images.shape == (0, 8, 8, 2)
    assert not np.any(of_kernel) and not np.any(of_bias)


@needs_native
def test_native_sums_do_not_depend_on_the_number_of_threads() -> None:
    code = """
import hashlib, jax, numpy as np
from chifoumi_jax.ops import conv_relu_pool
draw = np.random.default_rng(0).standard_normal
arguments = [draw(shape, np.float32) for shape in ((5, 60, 60, 8), (3, 3, 8, 40), (40,))]
loss = lambda *arguments: (conv_relu_pool(*arguments) ** 2).sum()
found = jax.jit(jax.grad(loss, (0, 1, 2)))(*arguments)
print(hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in found)).hexdigest())
"""
    assert len(outputs_by_core_count(code)) == 1


@pytest.mark.parametrize("windows", [1, 20, 45, 10_000])
def test_equals_the_reference_for_any_band_size(
    windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 7 rows of 2 x 5 windows give bands of 1, 2, 4 and 7 rows; for 2 and 4 the last band overlaps.
    monkeypatch.setattr(xla_blocked, "WINDOWS_PER_BAND", windows)
    assert_equals_reference(IMPLEMENTATIONS["xla_blocked"], *random_case((2, 17, 12, 3), out=4))


@each_implementation
def test_the_first_of_equal_maxima_gets_the_gradient(operation: Operation) -> None:
    arguments = np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 1)), np.zeros(1)
    _, (of_images, _, _) = results(operation, arguments, np.ones((1, 1, 1, 1)))
    expected = np.zeros((4, 4))
    expected[:3, :3] = 1
    np.testing.assert_array_equal(of_images[0, :, :, 0], expected)


@each_implementation
@pytest.mark.parametrize("channels", [3, 32])
def test_ties_of_equal_patches_survive_rounding(operation: Operation, channels: int) -> None:
    # On a surface of one colour all patches are equal, for any kernel. In float32 the four values
    # tie only if each is summed in the same order.
    random = np.random.default_rng(0)
    images = np.broadcast_to(random.random(channels), (2, 12, 12, channels))
    arguments: Arrays = images, random.normal(size=(3, 3, channels, 8)) / 17, np.ones(8)
    arguments = tuple(np.asarray(array, np.float32) for array in arguments)
    result, (of_images, _, _) = results(operation, arguments, np.ones((2, 5, 5, 8), np.float32))
    is_open = np.asarray(result)[0, 0, 0] > 0
    expected = np.zeros(images.shape)
    for row, column in np.ndindex(5, 5):
        first = (slice(None), slice(2 * row, 2 * row + 3), slice(2 * column, 2 * column + 3))
        expected[first] += arguments[1][..., is_open].sum(-1)
    np.testing.assert_allclose(of_images, expected, rtol=1e-4, atol=1e-5)


@each_implementation
def test_relu_passes_no_gradient_at_zero(operation: Operation) -> None:
    arguments = np.zeros((1, 4, 4, 1)), np.ones((3, 3, 1, 1)), np.zeros(1)
    _, gradients = results(operation, arguments, np.ones((1, 1, 1, 1)))
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@each_implementation
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_kept(operation: Operation, dtype: type) -> None:
    arguments, weight = random_case((2, 6, 7, 3), out=2)
    arguments = tuple(array.astype(dtype) for array in arguments)
    result, gradients = results(operation, arguments, weight)
    assert [array.dtype for array in (result, *gradients)] == [dtype] * 4


@each_implementation
@pytest.mark.parametrize("shape", [(3, 21, 30, 32), (3, 30, 21, 3), (2, 16, 22, 1)])
def test_float32_equals_lax_up_to_rounding(operation: Operation, shape: tuple[int, ...]) -> None:
    arguments, weight = random_case(shape, out=16)
    arguments = tuple(array.astype(np.float32) for array in arguments)
    weight = weight.astype(np.float32)
    result, ours = results(operation, arguments, weight)
    expected, theirs = results(conv_relu_pool_lax, arguments, weight)
    # Sums of up to 288 terms of order 1, some of which cancel: float32 rounding is below 1e-4.
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-4)
    for got, want in zip(ours, theirs, strict=True):
        scale = float(jnp.abs(want).max())
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6 * scale)


def test_works_in_a_scan_under_jit() -> None:
    (images, kernel, bias), weight = random_case((2, 9, 8, 2), out=3)

    def descend(kernel: Array, _: None) -> tuple[Array, Array]:
        def loss(kernel: Array) -> Array:
            return (conv_relu_pool(images, kernel, bias) * weight).sum()

        value, gradient = jax.value_and_grad(loss)(kernel)
        return kernel - 0.1 * gradient, value

    got, values = jax.jit(lambda kernel: jax.lax.scan(descend, kernel, length=3))(kernel)
    for value in values:
        result, (_, gradient, _) = reference(images, kernel, bias, weight)
        np.testing.assert_allclose(value, (result * weight).sum(), rtol=1e-12)
        kernel = kernel - 0.1 * gradient
    np.testing.assert_allclose(got, kernel, rtol=1e-12)


@each_implementation
def test_unused_image_gradients_are_not_computed(operation: Operation) -> None:
    exact, weight = random_case((2, 16, 16, 3), out=4)
    # In 64 bits there are no convolutions to count.
    arguments = [argument.astype(np.float32) for argument in exact]

    def count_operations(*argnums: int) -> int:
        def weighted(*arguments: Array) -> Array:
            return (operation(*arguments) * weight).sum()

        compiled = jax.jit(jax.grad(weighted, argnums)).lower(*arguments).compile().as_text()
        assert compiled is not None
        return sum(compiled.count(f" {part}(") for part in ("convolution", "while", "custom-call"))

    assert count_operations(1, 2) < count_operations(0, 1, 2)


@pytest.mark.parametrize("operation", [conv_relu_pool, conv_relu_pool_lax])
@pytest.mark.parametrize(
    ("images", "kernel", "bias", "message"),
    [
        ((1, 8, 8, 1), (5, 5, 1, 1), (1,), r"\(5, 5, 1, 1\); expected \(3, 3, 1, out\)"),
        ((1, 8, 8, 2), (3, 3, 1, 1), (1,), r"\(3, 3, 1, 1\); expected \(3, 3, 2, out\)"),
        ((1, 8, 8, 1), (3, 3, 1), (1,), r"\(3, 3, 1\); expected \(3, 3, 1, out\)"),
        ((1, 8, 3, 1), (3, 3, 1, 1), (1,), "at least 4 x 4 pixels"),
        ((8, 8, 1), (3, 3, 1, 1), (1,), "at least 4 x 4 pixels"),
        ((1, 8, 8, 0), (3, 3, 0, 1), (1,), "and one channel"),
        ((1, 8, 8, 1), (3, 3, 1, 5), (1,), r"bias has shape \(1,\); expected \(5,\)"),
        ((1, 8, 8, 1), (3, 3, 1, 5), (7,), r"bias has shape \(7,\); expected \(5,\)"),
        ((1, 8, 8, 1), (3, 3, 1, 5), (), r"bias has shape \(\); expected \(5,\)"),
    ],
)
def test_errors_name_the_invalid_shape(
    operation: Operation,
    images: tuple[int, ...],
    kernel: tuple[int, ...],
    bias: tuple[int, ...],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        operation(np.ones(images), np.ones(kernel), np.ones(bias))


@pytest.mark.parametrize("operation", [conv_relu_pool, conv_relu_pool_lax])
def test_errors_name_different_dtypes(operation: Operation) -> None:
    images, kernel = np.ones((1, 8, 8, 1), np.float32), np.ones((3, 3, 1, 1), np.float16)
    with pytest.raises(ValueError, match="are float32, float16, float32; use one dtype"):
        operation(images, kernel, np.ones(1, np.float32))


@needs_native
def test_native_kernels_refuse_a_bias_of_the_wrong_size() -> None:
    images, kernel = jnp.ones((1, 6, 6, 3)), jnp.ones((3, 3, 3, 5))
    with pytest.raises(jax.errors.JaxRuntimeError, match="do not belong together"):
        native.implementation.pool(images, kernel, jnp.ones(4))


@pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler"
)
def test_native_kernels_exist_if_there_is_a_compiler() -> None:
    # Without the kernels, their tests would be skipped unnoticed.
    assert not native.absence
