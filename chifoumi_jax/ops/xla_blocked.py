"""The pure XLA implementation for CPUs: a few rows at a time, so that values stay in the cache.

It is used where `native` is not compiled. The convolution's output is four times as large as the
pooled values, and the patches that turn its gradient into a matrix product are larger still. Whole
arrays of them would go to memory and back, which takes longer than the arithmetic. A band of rows
stays in the cache.

A band is some rows of the whole batch, not some images, so that a batch of one image is divided as
finely as one of a hundred. At 600 pixels, batch 25, a training step takes about 2.5 times as long
as with `native`, and a third of the time of `lax.conv`, `reduce_window` and autodiff
(`python -m benchmarks --only step`).
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Shaped

from chifoumi_jax.ops.implementation import (
    Bias,
    Images,
    Implementation,
    Kernel,
    Pooled,
    Winner,
    without_winners,
)
from chifoumi_jax.ops.pooling import CLOSED, bias_gradient, relu_pool, unpool, unpool_places

WINDOWS_PER_BAND = 2048
"""Pooling windows in a band, which has at least one row. At 600 px, batch 25, a band is one row. In
bands of 8 rows the kernel's gradient took 1.4 to 2 times as long, the rest up to 1.3 times (jax
0.12)."""

FEW_CHANNELS = 8
"""Up to this number of input channels, the forward pass handles columns in pairs, because jaxlib
0.10 is slow with patches of few values. At 600 px, 3 to 32 channels, batch 25, it takes 0.36 s with
pairs and 0.80 s without (jax 0.12: 0.29 s in both cases). With 32 input channels, pairs take 1.25
times as long."""


def _forward(images: Images, kernel: Kernel, bias: Bias) -> tuple[Pooled, Winner]:
    batch, height, width, _ = images.shape
    rows, columns = (height - 2) // 2, (width - 2) // 2
    band = _rows_per_band(batch, rows, columns)
    in_pairs = images.shape[3] <= FEW_CHANNELS and images.dtype != jnp.float64
    convolve = _convolve_pairs if in_pairs else _convolve

    def step(number: Array, results: tuple[Pooled, Winner]) -> tuple[Pooled, Winner]:
        # The last band starts early enough to be complete; overlapping rows are written twice.
        start = jnp.minimum(number * band, rows - band)
        pixels = _rows(images, 2 * start, 2 * band + 2)[:, :, : 2 * columns + 2]
        values = convolve(pixels, kernel, (0, 1))[:, :, : 2 * columns]
        pooled, winner = relu_pool(values + bias)
        return _write_rows(results[0], pooled, start), _write_rows(results[1], winner, start)

    shape = (batch, rows, columns, kernel.shape[3])
    results = jnp.zeros(shape, images.dtype), jnp.zeros(shape, jnp.uint8)
    return lax.fori_loop(0, -(-rows // band), step, results)


def _weight_gradients(
    images: Images, kernel: Kernel, gradient: Pooled, winner: Winner
) -> tuple[Kernel, Bias]:
    batch, rows, columns, out = gradient.shape
    channels = images.shape[3]
    band = _rows_per_band(batch, rows, columns)

    # One product covers a window's 4 x 4 pixels and its four positions. It does 16/9 of the needed
    # arithmetic, because a position sees 3 x 3 of the pixels. It does less than half of the
    # copying, because a pixel is in 4 windows but in 9 patches of 3 x 3.
    def step(number: Array, total: Array) -> Array:
        start = jnp.minimum(number * band, rows - band)
        is_new = start + jnp.arange(band) >= number * band
        part = jnp.where(is_new[:, None, None], _rows(gradient, start, band), 0)
        places = jnp.concatenate(unpool_places(part, _rows(winner, start, band)), axis=-1)
        pixels = _windows(_rows(images, 2 * start, 2 * band + 2), columns)
        return total + jnp.einsum("brcp,brcq->pq", pixels, places)

    total = jnp.zeros((16 * channels, 4 * out), images.dtype)
    total = lax.fori_loop(0, -(-rows // band), step, total)
    total = total.reshape(4, 4, channels, 2, 2, out)
    of_places = [total[y : y + 3, x : x + 3, :, y, x] for y in range(2) for x in range(2)]
    return jnp.stack(of_places).sum(0), bias_gradient(gradient, winner)


def _image_gradient(images: Images, kernel: Kernel, gradient: Pooled, winner: Winner) -> Images:
    batch, _, width, _ = images.shape
    rows, columns = gradient.shape[1:3]
    band = _rows_per_band(batch, rows + 1, columns)
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)

    # A window's values reach two pixel rows further down, so each side needs one more window row.
    above_and_below = ((0, 0), (1, 1), (0, 0), (0, 0))
    gradient = jnp.pad(gradient, above_and_below)
    winner = jnp.pad(winner, above_and_below, constant_values=CLOSED)

    def step(number: Array, result: Images) -> Images:
        start = jnp.minimum(number * band, rows + 1 - band)
        dense = unpool(_rows(gradient, start, band + 1), _rows(winner, start, band + 1))
        part = _convolve(dense, turned, (2, width - 2 * columns))
        return _write_rows(result, part, 2 * start)

    return lax.fori_loop(0, -(-(rows + 1) // band), step, jnp.zeros_like(images))


def _rows_per_band(batch: int, rows: int, columns: int) -> int:
    return max(1, min(rows, WINDOWS_PER_BAND // max(1, batch * columns)))


def _rows(
    array: Shaped[Array, "batch height width channels"], start: Array, count: int
) -> Shaped[Array, "batch {count} width channels"]:
    return lax.dynamic_slice_in_dim(array, start, count, axis=1)


def _write_rows(
    array: Shaped[Array, "batch height width channels"],
    rows: Shaped[Array, "batch count width channels"],
    start: Array,
) -> Shaped[Array, "batch height width channels"]:
    return lax.dynamic_update_slice_in_dim(array, rows, start, axis=1)


def _windows(
    pixels: Float[Array, "batch height width inputs"], columns: int
) -> Float[Array, "batch height//2-1 {columns} 16*inputs"]:
    """Returns the 4 x 4 pixels that each 2 x 2 pooling window depends on."""
    last_row, last_column = pixels.shape[1] - 2, 2 * columns
    shifts = [
        pixels[:, row : row + last_row : 2, column : column + last_column : 2]
        for row in range(4)
        for column in range(4)
    ]
    return jnp.concatenate(shifts, axis=-1)


def _convolve(
    rows: Float[Array, "batch height width in"],
    kernel: Float[Array, "3 across in out"],
    columns_around: tuple[int, int],
) -> Float[Array, "batch height-2 columns out"]:
    if rows.dtype == jnp.float64:
        return _product(rows, kernel, columns_around)
    # jaxlib 0.10 passes a convolution without padding to YNNPACK, which takes seven times as long
    # as XLA's own (299 px, 32 to 32 channels). One column of padding, cut off afterwards, prevents
    # this. jaxlib 0.12 becomes a little faster too.
    return lax.conv_general_dilated(
        rows,
        kernel,
        (1, 1),
        ((0, 0), columns_around),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _convolve_pairs(
    rows: Float[Array, "batch height width in"],
    kernel: Float[Array, "3 3 in out"],
    columns_around: tuple[int, int],
) -> Float[Array, "batch height-2 columns out"]:
    # Two neighbouring columns become one with twice the channels, which needs no copy. The kernel
    # then has a column of zeros on either side: 4/3 of the arithmetic for half of the patches.
    batch, height, width, channels = rows.shape
    out = kernel.shape[3]
    around = [jnp.pad(kernel, ((0, 0), (x, 1 - x), (0, 0), (0, 0))) for x in range(2)]
    wide = jnp.stack(around, axis=3).reshape(3, 2, 2 * channels, 2 * out)
    pairs = rows.reshape(batch, height, width // 2, 2 * channels)
    values = _convolve(pairs, wide, columns_around)
    return values.reshape(batch, height - 2, -1, out)


def _product(
    rows: Float[Array, "batch height width in"],
    kernel: Float[Array, "3 3 in out"],
    columns_around: tuple[int, int],
) -> Float[Array, "batch height-2 columns out"]:
    # On a CPU, XLA's convolutions are fast only up to 32 bits; its 64-bit matrix product is fast.
    rows = jnp.pad(rows, ((0, 0), (0, 0), columns_around, (0, 0)))
    height, width = rows.shape[1] - 2, rows.shape[2] - 2
    shifts = [rows[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    patches = jnp.concatenate(shifts, axis=-1)
    return jnp.einsum("bhwp,pq->bhwq", patches, kernel.reshape(-1, kernel.shape[3]))


implementation = Implementation(
    without_winners(_forward), _forward, _weight_gradients, _image_gradient
)
