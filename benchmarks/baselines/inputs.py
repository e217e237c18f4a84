"""Random inputs that all baselines share."""

import numpy as np

CLASSES = 3


def images(batch_size: int, image_size: int) -> np.ndarray:
    """Random pixels, uint8 `[batch, size, size, 3]`."""
    shape = (batch_size, image_size, image_size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def labels(batch_size: int) -> np.ndarray:
    """Random labels, int32 `[batch]`."""
    return np.random.default_rng(1).integers(0, CLASSES, batch_size).astype(np.int32)


def scaled(batch_size: int, image_size: int) -> np.ndarray:
    """The same pixels scaled to [0, 1], float32 `[batch, size, size, 3]`."""
    return images(batch_size, image_size).astype(np.float32) * np.float32(1 / 255)


def targets(batch_size: int) -> np.ndarray:
    """The same labels, one-hot, float32 `[batch, classes]`."""
    return np.eye(CLASSES, dtype=np.float32)[labels(batch_size)]
