import math

import numpy as np
import pytest

from chifoumi_jax.metrics import RunningMean, accuracy, confusion_matrix, wilson_interval

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4], [0.5, 0.4, 0.1]])
LABELS = np.array([0, 1, 1, 2])


def test_accuracy_and_confusion() -> None:
    assert accuracy(LABELS, PROBABILITIES) == 0.5
    expected = [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    np.testing.assert_array_equal(confusion_matrix(LABELS, PROBABILITIES), expected)


def test_wilson_interval() -> None:
    # 49 of 52, the study's test set: R's prop.test(49, 52, correct=FALSE).
    np.testing.assert_allclose(wilson_interval(49, 52), (0.84361, 0.98015), atol=1e-4)
    assert wilson_interval(0, 10)[0] == 0
    assert wilson_interval(10, 10)[1] == 1


def test_printed_mean_counts_the_mean_once_more() -> None:
    running = RunningMean()
    assert math.isnan(running.mean)
    running.add(25 * 1.0, 25)
    running.add(19 * 2.0, 19)
    assert running.mean == pytest.approx(63 / 44)
    assert running.printed == pytest.approx((1 + 2 + 63 / 44) / 3)
