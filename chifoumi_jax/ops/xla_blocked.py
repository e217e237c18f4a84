"""The CPU's way in XLA alone: a few rows at a time, so that what lies between stays in the cache.

For where `native` is not compiled. The convolution's output is four times as large as what is kept
of it, and the patches that turn its gradient into a matrix product are larger still. Whole, they go
to memory and back, which takes longer than the arithmetic. A band of them does not.

Bands are rows of the whole batch, not images: a batch of one image is cut as finely as one of a
hundred. At 600 pixels, batch 25, a training step takes about 2.5 times as long as `native`'s and a
third of what `lax.conv`, `reduce_window` and autodiff take (`python -m benchmarks --only step`).
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
"""Pooling windows in a band, at least one row. At 600 px, batch 25, that is one row: the kernel's
gradient took 1.4 to 2 times as long in bands of 8 rows, the rest up to 1.3 times (jax 0.12)."""

FEW_CHANNELS = 8
"""Input channels up to which the forward pass takes columns in pairs: jaxlib 0.10 is slow at
patches of a few values. 600 px, 3 to 32 channels, batch 25: 0.36 s in pairs, 0.80 s without (jax
0.12: 0.29 s both ways). With 32 channels pairs take 1.25 times as long."""


def _forward(images: Images, kernel: Kernel, bias: Bias) -> tuple[Pooled, Winner]:
    batch, height, width, _ = images.shape
    rows, columns = (height - 2) // 2, (width - 2) // 2
    band = _rows_per_band(batch, rows, columns)
    in_pairs = images.shape[3] <= FEW_CHANNELS and images.dtype != jnp.float64
    convolve = _convolve_pairs if in_pairs else _convolve

    def step(number: Array, results: tuple[Pooled, Winner]) -> tuple[Pooled, Winner]:
        # The last band starts early enough to be a whole one; what overlaps is written twice.
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

    # One product for a window's 4 x 4 pixels and its four places. It has 16/9 of the arithmetic
    # that is needed (a place sees 3 x 3 of the pixels), and less than half of the copying: a pixel
    # is in 4 windows, but in 9 patches of 3 x 3.
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

    # A window's values reach two rows of pixels further down, hence one more row on either side.
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
    # jaxlib 0.10 hands a convolution without any padding to YNNPACK, which takes seven times as
    # long as its own (299 px, 32 to 32); a column of padding, cut off afterwards, prevents it. 0.12
    # gains a little too.
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
    # Two neighbouring columns are one of twice the channels: they lie so in memory already. The
    # kernel then has a column of zeros on either side, 4/3 of the arithmetic for half the patches.
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
    # XLA's fast convolutions on a CPU end at 32 bits; its product of 64-bit matrices is fast.
    rows = jnp.pad(rows, ((0, 0), (0, 0), columns_around, (0, 0)))
    height, width = rows.shape[1] - 2, rows.shape[2] - 2
    shifts = [rows[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    patches = jnp.concatenate(shifts, axis=-1)
    return jnp.einsum("bhwp,pq->bhwq", patches, kernel.reshape(-1, kernel.shape[3]))


implementation = Implementation(
    without_winners(_forward), _forward, _weight_gradients, _image_gradient
)
