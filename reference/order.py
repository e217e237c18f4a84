"""The order of the images in `fit_generator` of Keras 2.2.4, and the metric that it printed."""

from collections.abc import Callable, Iterator

import numpy as np

Permutation = Callable[[int], np.ndarray]


def batches(images: int, batch_size: int, permutation: Permutation) -> Iterator[np.ndarray]:
    """Yield the rows of each batch, without end.

    `permutation(n)` gives a new order after every pass over all images. Passes do not depend on the
    number of steps in an epoch, so the smaller last batch of a pass can come at any step.

    Source: `keras_preprocessing` 1.0.5, `Iterator._flow_index`.
    """
    while True:
        rows = permutation(images)
        for start in range(0, images, batch_size):
            yield rows[start : start + batch_size]


def printed_metric(values: list[float], sizes: list[int]) -> float:
    """The metric at the end of an epoch's progress line, which counts the mean as one more value.

    Source: Keras 2.2.4, `ProgbarLogger` after `BaseLogger`.
    """
    mean = float(np.average(values, weights=sizes))
    return (sum(values) + mean) / (len(values) + 1)
