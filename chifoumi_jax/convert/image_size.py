"""The image size that the first Dense layer was made for."""

import math
import operator

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_IMAGE_SIZE

_CHANNELS = 64
_STUDYS_SIZE = 600


def image_size_for(rows: int, asked: int | None = None) -> int:
    """The image size of a network whose first Dense layer has `rows` inputs.

    Poolings round down, so that eight sizes lead to the same layer.

    Args:
        rows: Inputs of `dense_1`: height × width × 64 of the last feature map.
        asked: What the size is to be.

    Returns:
        What was asked for; else 600 if it fits, and the smallest that fits if not.

    Raises:
        WeightsError: If no square image fits, or not the one that was asked for.
    """
    side = math.isqrt(max(rows, 0) // _CHANNELS)
    if side == 0 or side**2 * _CHANNELS != rows:
        raise WeightsError(f"dense_1/kernel has {rows} rows; no square image leads to so many")
    # Undoes three times (size - 2) // 2; each division hides one bit of the size.
    sizes = range(8 * side + 14, 8 * side + 22)
    if sizes[0] > MAX_IMAGE_SIZE:
        raise WeightsError(
            f"dense_1/kernel has {rows} rows, for images of {sizes[0]} pixels; "
            f"more than {MAX_IMAGE_SIZE} are not read"
        )
    if asked is None:
        return _STUDYS_SIZE if _STUDYS_SIZE in sizes else sizes[0]
    if operator.index(asked) not in sizes:
        raise WeightsError(
            f"image_size is {asked}, but dense_1/kernel with {rows} rows is for "
            f"{sizes[0]} to {sizes[-1]} pixels"
        )
    return operator.index(asked)
