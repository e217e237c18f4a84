"""The order in which `fit_generator` of Keras 2.2.4 showed the images."""

from collections.abc import Callable, Iterator

import numpy as np

Permutation = Callable[[int], np.ndarray]


def batches(images: int, batch_size: int, permutation: Permutation) -> Iterator[np.ndarray]:
    """Rows of one batch after another, without end.

    `permutation(n)` is asked for a new order whenever all images were shown, which the count of
    steps in an epoch does not touch: the smaller last batch of a pass falls where it falls.

    Source: `keras_preprocessing` 1.0.5, `Iterator._flow_index`.
    """
    while True:
        rows = permutation(images)
        for start in range(0, images, batch_size):
            yield rows[start : start + batch_size]


def printed_metric(values: list[float], sizes: list[int]) -> float:
    """What the progress line of an epoch ended with: the mean counted as one value more.

    Source: Keras 2.2.4, `ProgbarLogger` after `BaseLogger`.
    """
    mean = float(np.average(values, weights=sizes))
    return (sum(values) + mean) / (len(values) + 1)
