"""Finds the image size from the shape of the first Dense layer."""

import math
import operator

from chifoumi_jax.convert.untrusted.errors import WeightsError
from chifoumi_jax.convert.untrusted.limits import MAX_IMAGE_SIZE

_CHANNELS = 64
_STUDY_SIZE = 600


def image_size_for(rows: int, requested: int | None = None) -> int:
    """Returns the image size of a network whose first Dense layer has `rows` inputs.

    Pooling rounds down, so eight image sizes give the same layer.

    Args:
        rows: Inputs of `dense_1`: height × width × 64 of the last feature map.
        requested: The size to use, in pixels, if it fits.

    Returns:
        The requested size; without one, 600 if it fits, else the smallest size that fits.

    Raises:
        WeightsError: If no square image fits, or the requested size does not.
    """
    map_size = math.isqrt(max(rows, 0) // _CHANNELS)
    if map_size == 0 or map_size**2 * _CHANNELS != rows:
        raise WeightsError(f"dense_1/kernel has {rows} rows; no square image gives this number")
    # Inverts (size - 2) // 2 three times; each division loses one bit of the size.
    sizes = range(8 * map_size + 14, 8 * map_size + 22)
    if sizes[0] > MAX_IMAGE_SIZE:
        raise WeightsError(
            f"dense_1/kernel has {rows} rows, for images of {sizes[0]} pixels; "
            f"more than {MAX_IMAGE_SIZE} are not read"
        )
    if requested is None:
        return _STUDY_SIZE if _STUDY_SIZE in sizes else sizes[0]
    if operator.index(requested) not in sizes:
        raise WeightsError(
            f"image_size is {requested}, but dense_1/kernel with {rows} rows is for "
            f"{sizes[0]} to {sizes[-1]} pixels"
        )
    return operator.index(requested)
