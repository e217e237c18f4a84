"""The GPU implementation: one kernel computes a tile of pooling windows from pixels to results.

As in `native`, neither the convolution's output nor its gradient is written to memory; both are
four times as large as the pooled values. A tile's matrix products use the tensor cores. The kernels
are written in Pallas, which XLA compiles with Triton, so nothing has to be built beforehand. (JAX
0.12 announces that Mosaic will replace Triton; `conv_relu_pool` then falls back to `xla`.)

It is used on Hopper GPUs (compute capability 9.0), where tiles were measured, and there only for
the passes that are slower in `xla` (`is_faster`). docs/results.md has the times of whole steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float, Int, Int32

from chifoumi_jax.ops.implementation import (
    Bias,
    Images,
    Implementation,
    Kernel,
    Pooled,
    Winner,
    without_winners,
)
from chifoumi_jax.ops.pooling import CLOSED, bias_gradient

PLACES = 4
"""Values in a pooling window."""

PROGRAMS = 528
"""Programs that share the sum over all windows: four per multiprocessor of an H100."""

# Limits of 32-bit offsets, and of a grid's rows and images.
_MOST_VALUES = 2**31 - 1
_MOST_IN_GRID = 2**16 - 1
# Values of `jax.default_matmul_precision` that ask for full float32. Three TF32 products reach this
# accuracy: they use 22 of each factor's 24 bits and sum in float32.
_FULL = ("float32", "highest")
# Values that allow factors of ten bits; `None` is the GPU's own default.
_FAST = (None, "default", "fastest", "high", "tensorfloat32", "TF32_TF32_F32")
_THREE_TF32 = lax.DotAlgorithmPreset.TF32_TF32_F32_X3
_TF32 = lax.DotAlgorithmPreset.TF32_TF32_F32


class Tile(NamedTuple):
    """How a kernel's work is divided; values are the fastest that were tried on an H100.

    Attributes:
        windows: Pooling windows of a row that one program computes together.
        warps: Number of warps (groups of 32 threads).
        stages: Number of loop iterations whose loads are in flight at once.
    """

    windows: int
    warps: int = 4
    stages: int = 1


def serves(name: str, images: Images, kernel: Kernel) -> bool:
    """Whether the `Implementation` pass with this name is computed in tiles."""
    return can_serve(images, kernel) and is_faster(name, images, kernel)


def can_serve(images: Images, kernel: Kernel) -> bool:
    """Whether the kernels support these arrays and the requested precision."""
    batch, height, width, channels = images.shape
    out = kernel.shape[3]
    if not all(isinstance(size, int) for size in images.shape):
        # An export for any number of images has symbolic sizes.
        return False
    is_float = images.dtype in (jnp.float32, jnp.bfloat16)
    channels_fit = channels in (3, 16, 32, 64) and out in (16, 32, 64)
    # Three channels are padded to four; the pooled result has a quarter of the pixels.
    values = batch * height * width * max(4, channels, out // 4)
    in_grid = 0 < batch <= _MOST_IN_GRID and height <= _MOST_IN_GRID
    known = images.dtype == jnp.bfloat16 or _asked() in (*_FULL, *_FAST)
    return is_float and channels_fit and values <= _MOST_VALUES and in_grid and known


def is_faster(name: str, images: Images, kernel: Kernel) -> bool:
    """Whether tiles were faster than `xla` on an H100, by precision and channels."""
    precision, out = _precision(images), kernel.shape[3]
    if name == "weight_gradients":
        # With more channels the sums do not fit into the registers.
        return out <= 32
    if name == "image_gradient":
        return precision == _THREE_TF32 and images.shape[3] > 3
    return out <= 32 or precision != _TF32


def _asked() -> str | None:
    asked: str | None = getattr(jax.config, "jax_default_matmul_precision", None)
    return asked


def _precision(images: Images) -> lax.DotAlgorithmPreset | None:
    if images.dtype == jnp.bfloat16:
        return None
    return _THREE_TF32 if _asked() in _FULL else _TF32


class _Tiles:
    """The passes; `interpreted` runs them in plain JAX, for machines without a GPU."""

    def __init__(self, interpreted: bool):
        self._interpreted = interpreted

    def forward(self, images: Images, kernel: Kernel, bias: Bias) -> tuple[Pooled, Winner]:
        """Each program computes some windows of a row: four convolution values per window."""
        few = images.shape[3] == 3
        images, precision = _in_fours(images), _precision(images)
        batch, height, width, channels = images.shape
        rows, columns, out = (height - 2) // 2, (width - 2) // 2, kernel.shape[3]
        tile = _forward_tile(precision, few)
        runs, used = _runs(kernel)
        across, length = len(runs) // 3, runs.shape[1]

        def body(images: Any, kernel: Any, bias: Any, pooled: Any, winners: Any) -> None:
            row, image = pl.program_id(1), pl.program_id(2)
            # Ordered by position: all windows' first values, then all second ones, and so on.
            place, window = _divide(_range(PLACES * tile.windows), tile.windows)
            down, right = _divide(place, 2)
            column = pl.program_id(0) * tile.windows + window
            first = (image * height + 2 * row + down) * width + 2 * column + right
            taken, outs = _range(length), _range(out)
            inside = _across(column < columns, length)
            inside = inside & (taken < used)[None] if used < length else inside

            def add_run(run: Int[Array, ""], total: Array) -> Array:
                run = run.astype(jnp.int32)
                below, beside = _divide(run, across)
                at = (first + below * width + beside) * channels
                pixels = triton.load(images.at[_at(at, taken)], mask=inside, other=0)
                weights = triton.load(kernel.at[_at((run * length + taken) * out, outs)])
                # The order is the same for each value, so that equal patches tie.
                return total + self._product(pixels, weights, precision)

            values = jnp.zeros((PLACES * tile.windows, out), jnp.float32)
            values = lax.fori_loop(0, len(runs), add_run, values)
            values = values.reshape(PLACES, tile.windows, out)
            largest = jnp.max(values, axis=0)
            places = lax.broadcasted_iota(jnp.int32, values.shape, 0)
            winner = jnp.min(jnp.where(values == largest[None], places, CLOSED), axis=0)
            # Triton's maximum ignores NaN, so no maximum may be taken after this line.
            lost = jnp.max(jnp.where(jnp.isnan(values), 1, 0), axis=0) > 0
            largest = jnp.where(lost, jnp.float32(jnp.nan), largest)
            largest = largest + triton.load(bias.at[outs]).astype(jnp.float32)[None]
            winner = jnp.where(largest > 0, winner, CLOSED)
            column = pl.program_id(0) * tile.windows + _range(tile.windows)
            at = _at(((image * rows + row) * columns + column) * out, outs)
            inside = _across(column < columns, out)
            kept = jnp.where(largest <= 0, 0, largest).astype(pooled.dtype)
            triton.store(pooled.at[at], kept, mask=inside)
            triton.store(winners.at[at], winner.astype(jnp.uint8), mask=inside)

        shape = (batch, rows, columns, out)
        return self._run(
            body,
            tile,
            (pl.cdiv(columns, tile.windows), rows, batch),
            [jax.ShapeDtypeStruct(shape, images.dtype), jax.ShapeDtypeStruct(shape, jnp.uint8)],
            (images, runs, bias),
        )

    def weight_gradients(
        self, images: Images, kernel: Kernel, gradient: Pooled, winner: Winner
    ) -> tuple[Kernel, Bias]:
        """Each program takes some rows of windows, and all or one row of a window's 4 x 4 pixels.

        As in `xla_blocked`, one product covers all positions, at 16/9 of the needed arithmetic.
        """
        few = images.shape[3] == 3
        images, precision = _in_fours(images), _precision(images)
        batch, height, width, channels = images.shape
        _, rows, columns, out = gradient.shape
        tile = _weights_tile(precision, few)
        across = 4 * channels
        length = 4 * across if few else across
        parts = 4 * across // length
        lines = batch * rows
        shares = min(PROGRAMS // parts, lines)
        in_line = pl.cdiv(columns, tile.windows)

        def body(images: Any, gradient: Any, winner: Any, totals: Any) -> None:
            part, share = pl.program_id(0), pl.program_id(1)
            taken, outs = _range(length), _range(out)
            below, beside = _divide(taken, across)
            offset = below * (width * channels) + beside if few else taken
            offset = part * (width * channels) + offset

            def add_tile(number: Int[Array, ""], sums: tuple[Array, ...]) -> tuple[Array, ...]:
                turn, place_in_line = _divide(number.astype(jnp.int32), in_line)
                line = share + turn * shares
                image, row = _divide(line, rows)
                column = place_in_line * tile.windows + _range(tile.windows)
                inside = (column < columns) & (line < lines)
                first = ((image * height + 2 * row) * width + 2 * column) * channels
                pixels = triton.load(
                    images.at[_at(first, offset)], mask=_across(inside, length), other=0
                )
                at = _at((line * columns + column) * out, outs)
                slope, won = _of_windows(gradient, winner, at, inside)
                return tuple(
                    total
                    + self._product(pixels, _of_place(slope, won, place), precision, turned=True)
                    for place, total in enumerate(sums)
                )

            sums = tuple(jnp.zeros((length, out), jnp.float32) for _ in range(PLACES))
            sums = lax.fori_loop(0, pl.cdiv(lines, shares) * in_line, add_tile, sums)
            row_of_pixel = ((share * parts + part) * length + taken) * (PLACES * out)
            for place, total in enumerate(sums):
                triton.store(totals.at[_at(row_of_pixel + place * out, outs)], total)

        shape = (shares, 4, 4, channels, 2, 2, out)
        (totals,) = self._run(
            body,
            tile,
            (parts, shares),
            [jax.ShapeDtypeStruct(shape, jnp.float32)],
            (images, gradient, winner),
        )
        total = totals.sum(0)
        of_places = [total[y : y + 3, x : x + 3, :, y, x] for y in range(2) for x in range(2)]
        of_kernel = sum(of_places).astype(images.dtype)
        # The fourth channel is one everywhere, so its gradient is that of the bias.
        of_bias = of_kernel[0, 0, 3] if few else bias_gradient(gradient, winner)
        return of_kernel[:, :, : kernel.shape[2]], of_bias

    def image_gradient(
        self, images: Images, kernel: Kernel, gradient: Pooled, winner: Winner
    ) -> Images:
        """Each program computes some blocks of 2 x 2 pixels in one row of blocks."""
        precision = _precision(images)
        batch, height, width, channels = images.shape
        _, rows, columns, out = gradient.shape
        tile = Tile(windows=32)
        turned = kernel.reshape(9, channels, out).swapaxes(1, 2)

        def body(kernel: Any, gradient: Any, winner: Any, result: Any) -> None:
            row, image = pl.program_id(1), pl.program_id(2)
            outs, values = _range(out), _range(channels)
            pixel, block = _divide(_range(4 * tile.windows), tile.windows)
            down, right = _divide(pixel, 2)
            column = pl.program_id(0) * tile.windows + block

            def add_tap(tap: Int[Array, ""], total: Array) -> Array:
                # Finds the convolution value that sees the pixel through this tap: its window, and
                # its position in the window.
                tap = tap.astype(jnp.int32)
                tap_row, tap_column = _divide(tap, 3)
                window_row, place_row = _divide(down + 2 - tap_row, 2)
                window_column, place_column = _divide(right + 2 - tap_column, 2)
                y, x = row - 1 + window_row, column - 1 + window_column
                inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
                at = _at(((image * rows + y) * columns + x) * out, outs)
                slope, won = _of_windows(gradient, winner, at, inside)
                slope = _of_place(slope, won, (2 * place_row + place_column)[:, None])
                weights = triton.load(kernel.at[_at((tap * out + outs) * channels, values)])
                return total + self._product(slope, weights, precision)

            total = jnp.zeros((4 * tile.windows, channels), jnp.float32)
            total = lax.fori_loop(0, 9, add_tap, total)
            y, x = 2 * row + down, 2 * column + right
            at = _at(((image * height + y) * width + x) * channels, values)
            inside = _across((x < width) & (y < height), channels)
            triton.store(result.at[at], total.astype(result.dtype), mask=inside)

        (result,) = self._run(
            body,
            tile,
            (pl.cdiv(pl.cdiv(width, 2), tile.windows), pl.cdiv(height, 2), batch),
            [jax.ShapeDtypeStruct(images.shape, images.dtype)],
            (turned, gradient, winner),
        )
        return result

    def _product(
        self,
        left: Array,
        right: Array,
        precision: lax.DotAlgorithmPreset | None,
        turned: bool = False,
    ) -> Array:
        return lax.dot_general(
            left,
            right,
            (((0 if turned else 1,), (0,)), ((), ())),
            # The algorithm presets do not exist on a CPU.
            precision=lax.Precision.HIGHEST if self._interpreted else precision,
            preferred_element_type=jnp.float32,
        )

    def _run(
        self,
        body: Callable[..., None],
        tile: Tile,
        grid: tuple[int, ...],
        results: list[jax.ShapeDtypeStruct],
        arguments: tuple[Array, ...],
    ) -> Any:
        # The kernels get flat arrays and compute the offsets themselves.
        flat = [jax.ShapeDtypeStruct((result.size,), result.dtype) for result in results]
        found = pl.pallas_call(
            body,
            grid=grid,
            out_shape=flat,
            compiler_params=triton.CompilerParams(num_warps=tile.warps, num_stages=tile.stages),
            interpret=self._interpreted,
        )(*(argument.reshape(-1) for argument in arguments))
        return tuple(a.reshape(result.shape) for a, result in zip(found, results, strict=True))

    def implementation(self) -> Implementation:
        """Returns all passes."""
        return Implementation(
            without_winners(self.forward), self.forward, self.weight_gradients, self.image_gradient
        )


def _forward_tile(precision: lax.DotAlgorithmPreset | None, few: bool) -> Tile:
    if few:
        return Tile(windows=64)
    if precision == _THREE_TF32:
        return Tile(windows=32)
    return Tile(windows=64, stages=3)


def _weights_tile(precision: lax.DotAlgorithmPreset | None, few: bool) -> Tile:
    if few:
        return Tile(windows=64, stages=3 if precision == _THREE_TF32 else 1)
    return Tile(windows=32, stages=3)


def _in_fours(images: Images) -> Images:
    # Four channels are aligned with memory words, three are not. The fourth is one, for the bias.
    if images.shape[3] != 3:
        return images
    return jnp.pad(images, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1)


def _runs(kernel: Kernel) -> tuple[Float[Array, "runs length out"], int]:
    """Returns the kernel's taps, grouped into runs, and the number of values used in each run.

    With few channels a run is a row of three taps, padded to the length of four pixels. Otherwise
    each tap is its own run.
    """
    channels, out = kernel.shape[2:]
    if channels > 3:
        return kernel.reshape(9, channels, out), channels
    kernel = jnp.pad(kernel, ((0, 0), (0, 1), (0, 1), (0, 0)))
    return kernel.reshape(3, 16, out), 12


def _divide(
    number: Int32[Array, "..."], by: int
) -> tuple[Int32[Array, "..."], Int32[Array, "..."]]:
    # Quotient and remainder of nonnegative numbers; `//` and `%` would also floor negative ones.
    return lax.div(number, jnp.int32(by)), lax.rem(number, jnp.int32(by))


def _range(count: int) -> Int32[Array, " {count}"]:
    return lax.iota(jnp.int32, count)


def _at(rows: Int32[Array, " rows"], columns: Int32[Array, " columns"]) -> Int32[Array, "..."]:
    return rows[:, None] + columns[None]


def _across(inside: Array, columns: int) -> Array:
    return jnp.broadcast_to(inside[:, None], (len(inside), columns))


def _of_windows(gradient: Any, winner: Any, at: Array, inside: Array) -> tuple[Array, Array]:
    inside = _across(inside, at.shape[1])
    slope = triton.load(gradient.at[at], mask=inside, other=0)
    won = triton.load(winner.at[at], mask=inside, other=CLOSED)
    return slope, won.astype(jnp.int32)


def _of_place(slope: Array, won: Array, place: Any) -> Array:
    return jnp.where(won == place, slope, jnp.zeros_like(slope))


implementation = _Tiles(interpreted=False).implementation()
interpreted = _Tiles(interpreted=True).implementation()
