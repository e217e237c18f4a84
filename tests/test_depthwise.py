"""Compares `chifoumi_jax.ops.depthwise_conv` with sums in NumPy float64 and with lax."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from chifoumi_jax.ops import depthwise_conv, depthwise_native, native
from chifoumi_jax.ops.depthwise import differentiable
from chifoumi_jax.ops.depthwise_implementation import accelerated, shifted
from tests.kernels import needs_native, outputs_by_core_count

# NumPy arrays, which JAX accepts as its own.
Arrays = tuple[Any, ...]
Operation = Callable[..., Float[Array, "batch rows columns channels"]]

NATIVE = ("x86-64-v4", "x86-64-v3", "baseline")
IMPLEMENTATIONS: dict[str, Operation] = {
    **{name: differentiable(depthwise_native.implementation) for name in NATIVE},
    "shifted": differentiable(shifted),
    "accelerated": differentiable(accelerated),
}

each_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
native_only = pytest.mark.parametrize("implementation", NATIVE)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.fixture
def operation(implementation: str) -> Iterator[Operation]:
    """One implementation of the operation; for native kernels, one instruction set."""
    before = native.instruction_set()
    if implementation in NATIVE and not native.use_instruction_set(implementation):
        pytest.skip(native.absence or f"this processor has no {implementation}")
    yield IMPLEMENTATIONS[implementation]
    if before:
        native.use_instruction_set(before)


def reference(
    images: np.ndarray, kernel: np.ndarray, stride: int, weight: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Returns the result and the two gradients of `(result * weight).sum()`, in NumPy float64.

    The padding is TensorFlow's (`tf.nn.convolution`, "SAME"): just enough for the last position of
    the kernel, with half of it, rounded down, in front.
    """
    side = len(kernel)
    height, width = images.shape[1:3]
    rows, columns = weight.shape[1:3]
    spans = [
        max((count - 1) * stride + side, size) for count, size in ((rows, height), (columns, width))
    ]
    top, left = (spans[0] - height) // 2, (spans[1] - width) // 2
    padded = np.zeros((len(images), *spans, images.shape[3]))
    inner = (slice(None), slice(top, top + height), slice(left, left + width))
    padded[inner] = images
    result, of_padded, of_kernel = (
        np.zeros(weight.shape),
        np.zeros_like(padded),
        np.zeros(kernel.shape),
    )
    for dy, dx in np.ndindex(side, side):
        seen = (
            slice(None),
            slice(dy, dy + (rows - 1) * stride + 1, stride),
            slice(dx, dx + (columns - 1) * stride + 1, stride),
        )
        result += padded[seen] * kernel[dy, dx]
        of_padded[seen] += weight * kernel[dy, dx]
        of_kernel[dy, dx] = np.einsum("brcn,brcn->n", padded[seen], weight)
    return result, of_padded[inner], of_kernel


def random_case(
    shape: tuple[int, ...], side: int, stride: int, dtype: Any = np.float64, seed: int = 0
) -> tuple[Arrays, np.ndarray]:
    """Returns images and kernel, and the weights of the result."""
    draw = np.random.default_rng(seed).standard_normal
    batch, height, width, channels = shape
    arguments = draw(shape).astype(dtype), draw((side, side, channels)).astype(dtype)
    weight = draw((batch, -(-height // stride), -(-width // stride), channels))
    return arguments, weight.astype(dtype)


@partial(jax.jit, static_argnums=(0, 2))
def results(
    operation: Operation, arguments: Arrays, stride: int, weight: np.ndarray
) -> tuple[Array, ...]:
    result, pull_back = jax.vjp(lambda *arrays: operation(*arrays, stride), *arguments)
    return result, *pull_back(weight)


def assert_equals_reference(
    operation: Operation, arguments: Arrays, stride: int, weight: np.ndarray
) -> None:
    got = results(operation, arguments, stride, weight)
    # The error of a sum of n terms is at most n roundings of the sum of the terms' absolute values.
    # The reference with absolute values computes this sum; n is the largest number of terms.
    exact = [array.astype(np.float64) for array in (*arguments, weight)]
    sizes = [np.abs(array) for array in exact]
    expected = reference(exact[0], exact[1], stride, exact[2])
    magnitudes = reference(sizes[0], sizes[1], stride, sizes[2])
    terms = (arguments[1][..., 0].size, arguments[1][..., 0].size, weight[..., 0].size)
    for name, ours, want, size, number in zip(
        ("result", "images", "kernel"), got, expected, magnitudes, terms, strict=True
    ):
        assert ours.dtype == weight.dtype
        bound = (number + 1) * np.finfo(weight.dtype).eps * size
        assert np.all(np.abs(ours - want) <= bound), name


# Below, at and above the kernel's size; even and odd; one tile of eight columns, and several with
# a remainder. The channels are fewer than a vector, a multiple of all vectors, or have a remainder.
SIZES = [(1, 1), (2, 4), (5, 3), (9, 8), (4, 33), (3, 18)]


@native_only
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5])
def test_equals_the_reference(operation: Operation, side: int, stride: int, dtype: Any) -> None:
    for (height, width), channels in zip(SIZES, (7, 32, 19, 3, 16, 50), strict=True):
        case = random_case((2, height, width, channels), side, stride, dtype)
        assert_equals_reference(operation, case[0], stride, case[1])


@pytest.mark.parametrize("implementation", ["shifted", "accelerated"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5])
def test_xla_equals_the_reference(operation: Operation, side: int, stride: int) -> None:
    for height, width in ((1, 2), (4, 7), (7, 4)):
        case = random_case((2, height, width, 3), side, stride)
        assert_equals_reference(operation, case[0], stride, case[1])


# The fixture may be shared by all examples of a test.
@native_only
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 40), st.integers(1, 90)),
    side=st.sampled_from([3, 5]),
    stride=st.sampled_from([1, 2]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**31),
)
def test_equals_the_reference_on_any_shape(
    operation: Operation, shape: tuple[int, ...], side: int, stride: int, dtype: Any, seed: int
) -> None:
    arguments, weight = random_case(shape, side, stride, dtype, seed)
    assert_equals_reference(operation, arguments, stride, weight)


@native_only
@pytest.mark.parametrize("channels", [1152, 1171])
def test_equals_the_reference_if_channels_are_divided_into_blocks(
    operation: Operation, channels: int
) -> None:
    # 5 x 5 x 1152 weights are more than one task takes; the remainder is in the last block.
    arguments, weight = random_case((3, 4, 4, channels), 5, 1)
    assert_equals_reference(operation, arguments, 1, weight)


@each_implementation
@pytest.mark.parametrize("stride", [1, 2])
def test_equals_lax(operation: Operation, stride: int) -> None:
    arguments, weight = random_case((2, 9, 10, 5), 5, stride)

    def plain(images: Array, kernel: Array, stride: int) -> Array:
        return lax.conv_general_dilated(
            images,
            kernel[:, :, None],
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=5,
        )

    ours = results(operation, arguments, stride, weight)
    theirs = results(plain, arguments, stride, weight)
    for got, want in zip(ours, theirs, strict=True):
        # Sums of up to 180 terms of order 1: float64 rounding.
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


@native_only
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_equal_differences_of_the_result(operation: Operation, stride: int) -> None:
    arguments, weight = random_case((2, 6, 9, 4), 3, stride)
    directions, _ = random_case((2, 6, 9, 4), 3, stride, seed=1)

    def weighted(images: Any, kernel: Any) -> float:
        return float((operation(images, kernel, stride) * weight).sum())

    # Linear in images and in kernel, so a difference equals the derivative for any step.
    _, *gradients = results(operation, arguments, stride, weight)
    for number in range(2):
        moved = list(arguments)
        moved[number] = arguments[number] + directions[number]
        difference = weighted(*moved) - weighted(*arguments)
        # Sums of about a thousand terms of order 1, some of which cancel.
        np.testing.assert_allclose(
            (gradients[number] * directions[number]).sum(), difference, rtol=1e-11, atol=1e-11
        )


@native_only
@pytest.mark.parametrize("width", [4, 8, 11])
def test_nan_reaches_exactly_the_values_that_depend_on_it(operation: Operation, width: int) -> None:
    # The kernels also compute the missing columns of a tile, which must not affect the result.
    (images, kernel), weight = random_case((1, 5, width, 3), 3, 1)
    for column in range(width):
        with_nan = images.copy()
        with_nan[0, 2, column, 1] = np.nan
        got = results(operation, (with_nan, kernel), 1, weight)
        for ours, want in zip(got, reference(with_nan, kernel, 1, weight), strict=True):
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(want))


@native_only
def test_works_under_vmap(operation: Operation) -> None:
    (images, kernel), weight = random_case((4, 7, 6, 5), 3, 2)

    def weighted(image: Array, kernel: Array, weight: Array) -> Array:
        return (operation(image[None], kernel, 2)[0] * weight).sum()

    per_image = jax.vmap(jax.grad(weighted, (0, 1)), (0, None, 0))(images, kernel, weight)
    _, of_images, of_kernel = reference(images, kernel, 2, weight)
    # As in `test_equals_lax`: float64 rounding.
    np.testing.assert_allclose(per_image[0], of_images, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(per_image[1].sum(0), of_kernel, rtol=1e-13, atol=1e-13)


def test_works_in_shard_map() -> None:
    (images, kernel), weight = random_case((4, 7, 6, 5), 3, 2)
    mesh = Mesh(np.array(jax.devices()[:1]), "batch")

    @jax.jit
    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P("batch"), P(), P("batch")),
        out_specs=(P("batch"), P()),
        check_vma=False,
    )
    def gradients(images: Array, kernel: Array, weight: Array) -> tuple[Array, Array]:
        def weighted(images: Array, kernel: Array) -> Array:
            return (depthwise_conv(images, kernel, 2) * weight).sum()

        return jax.grad(weighted, (0, 1))(images, kernel)

    _, *expected = reference(images, kernel, 2, weight)
    for got, want in zip(gradients(images, kernel, weight), expected, strict=True):
        # As in `test_equals_lax`: float64 rounding.
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


def compiled_text(operation: Operation, arguments: Arrays) -> str:
    """Returns the program that XLA compiles from the operation."""
    compiled = jax.jit(lambda *arrays: operation(*arrays, 1)).lower(*arguments).compile()
    return compiled.as_text() or ""


@needs_native
def test_supported_dtypes_use_the_native_kernels() -> None:
    for dtype in (np.float32, np.float64):
        arguments, _ = random_case((1, 4, 4, 3), 3, 1, dtype)
        assert f"chifoumi_depthwise_forward_{np.dtype(dtype)}" in compiled_text(
            depthwise_conv, arguments
        )


def test_bfloat16_is_computed_by_xla() -> None:
    arguments, weight = random_case((2, 5, 6, 3), 3, 1)
    images, kernel = (jnp.asarray(array, jnp.bfloat16) for array in arguments)
    assert "chifoumi_depthwise" not in compiled_text(depthwise_conv, (images, kernel))
    got = depthwise_conv(images, kernel)
    assert got.dtype == jnp.bfloat16
    exact = np.asarray(images, np.float64), np.asarray(kernel, np.float64)
    want, *_ = reference(*exact, 1, weight)
    sizes, *_ = reference(np.abs(exact[0]), np.abs(exact[1]), 1, weight)
    # Nine terms and nine roundings to 8 bits.
    assert np.all(np.abs(np.asarray(got, np.float64) - want) <= 10 * 2.0**-8 * sizes)


def test_without_the_library_shifted_images_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_library", None)
    arguments, weight = random_case((2, 5, 6, 3), 3, 2)

    # A new function, because JAX would reuse the compiled one.
    def without_native(images: Array, kernel: Array, stride: int) -> Array:
        return depthwise_conv(images, kernel, stride)

    compiled = compiled_text(without_native, arguments)
    assert "chifoumi_depthwise" not in compiled
    assert "convolution(" not in compiled
    assert_equals_reference(without_native, arguments, 2, weight)


@needs_native
def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    code = """
import hashlib, jax, numpy as np
from chifoumi_jax.ops import depthwise_conv
draw = np.random.default_rng(0).standard_normal
found = []
for shape, side, stride in (((5, 40, 40, 24), 3, 1), ((33, 6, 6, 520), 5, 2)):
    arguments = draw(shape, np.float32), draw((side, side, shape[3]), np.float32)
    loss = lambda *arguments: (depthwise_conv(*arguments, stride) ** 2).sum()
    found += jax.jit(jax.grad(loss, (0, 1)))(*arguments)
print(hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in found)).hexdigest())
"""
    assert len(outputs_by_core_count(code)) == 1


@needs_native
def test_unused_gradients_are_not_computed() -> None:
    arguments, weight = random_case((2, 6, 6, 3), 3, 1)

    def targets(*argnums: int) -> set[str]:
        def weighted(images: Array, kernel: Array) -> Array:
            return (depthwise_conv(images, kernel) * weight).sum()

        compiled = jax.jit(jax.grad(weighted, argnums)).lower(*arguments).compile().as_text() or ""
        names = ("forward", "kernel_gradient", "image_gradient")
        return {name for name in names if f"chifoumi_depthwise_{name}" in compiled}

    assert targets(1) == {"kernel_gradient"}
    assert targets(0) == {"image_gradient"}


@pytest.mark.parametrize(
    ("kernel", "stride", "message"),
    [
        ((4, 4, 3), 1, r"\(4, 4, 3\); expected \(3, 3, channels\)"),
        ((3, 5, 3), 1, r"\(3, 5, 3\)"),
        ((3, 3, 4), 1, "have 3 channels"),
        ((3, 3, 3), 3, "stride is 3; expected 1 or 2"),
    ],
)
def test_errors_name_the_invalid_argument(
    kernel: tuple[int, ...], stride: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        depthwise_conv(jnp.ones((1, 8, 8, 3)), jnp.ones(kernel), stride)


def test_different_dtypes_are_an_error() -> None:
    with pytest.raises(ValueError, match="float64 and the kernel float32"):
        depthwise_conv(jnp.ones((1, 8, 8, 3)), jnp.ones((3, 3, 3), jnp.float32))
