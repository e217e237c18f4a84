"""Calibration: the temperature, the threshold for unsure answers, and the calibration error."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chifoumi_jax.metrics import wilson_interval
from chifoumi_jax.training.calibration import (
    UNCALIBRATED,
    Calibration,
    calibrate,
    expected_calibration_error,
    read,
    sentence,
)
from chifoumi_jax.training.run import RunError


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def drawn(temperature: float, images: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from logits, and probabilities of the logits scaled by a wrong temperature."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (images, 3))
    true = softmax(logits)
    labels = np.array([random.choice(3, p=row / row.sum()) for row in true.astype(np.float64)])
    return labels, softmax(logits * temperature)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_temperature_undoes_the_scaling_of_the_logits(temperature: float) -> None:
    labels, probabilities = drawn(temperature)
    found = calibrate(labels, probabilities)
    # With 4,000 drawn labels the standard error of the temperature is about 3 %.
    assert found.temperature == pytest.approx(temperature, rel=0.12)
    assert found.photos == 4000
    error = expected_calibration_error(labels, found.apply_temperature(probabilities))
    assert error < 0.03 and error <= expected_calibration_error(labels, probabilities) + 0.005


def test_95_percent_of_the_answers_above_the_threshold_are_correct() -> None:
    labels, probabilities = drawn(2.0)
    found = calibrate(labels, probabilities)
    tempered = found.apply_temperature(probabilities)
    sure = tempered.max(axis=1) >= found.threshold
    assert 0 < sure.sum() < len(labels)
    assert np.mean(tempered[sure].argmax(axis=1) == labels[sure]) >= 0.95
    unsure = tempered[~sure].argmax(axis=1) == labels[~sure]
    assert np.mean(unsure) < 0.95


@given(st.floats(0.25, 4.0), st.integers(0, 2**32 - 1))
def test_temperature_keeps_the_order_and_the_sum(temperature: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities = softmax(random.normal(0, 5, (7, 4)))
    tempered = Calibration(temperature).apply_temperature(probabilities)
    assert (tempered.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    # Float32 rounding of 6e-8 in each of four terms.
    np.testing.assert_allclose(tempered.sum(axis=1), 1, rtol=1e-5)


def test_calibration_error_of_known_answers() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]], np.float32)
    # Half of the answers at 0.9 are correct, and all at 0.7.
    labels = np.array([0, 1, 1, 1])
    assert expected_calibration_error(labels, probabilities) == pytest.approx(0.5 * 0.4 + 0.5 * 0.3)


def test_too_few_photos_give_no_calibration() -> None:
    labels, probabilities = drawn(2.0, images=29)
    assert calibrate(labels, probabilities) == UNCALIBRATED
    assert "Not calibrated" in sentence(UNCALIBRATED)


def test_answers_with_equal_probabilities_are_all_sure_or_all_unsure() -> None:
    # The first twenty answers are correct; half of the next twenty, all at 0.7, are correct.
    sure, less = [0.9, 0.05, 0.05], [0.7, 0.2, 0.1]
    probabilities = np.array([sure] * 20 + [less] * 20, np.float32)
    labels = np.array([0] * 20 + [0] * 10 + [1] * 10)
    found = calibrate(labels, probabilities)
    tempered = found.apply_temperature(probabilities).max(axis=1)
    assert (tempered >= found.threshold).sum() == 20
    assert found.unsure == 20
    assert "called unsure (20 of these photos)." in sentence(found)


def test_the_sentence_says_when_the_temperature_is_at_its_bound() -> None:
    certain = np.array([[1, 0], [0, 1]] * 20, np.float32)
    wrong = calibrate(np.array([1, 0] * 20), certain)
    assert "temperature 0.25, the lowest allowed;" in sentence(Calibration(0.25, 0.6, 40))
    assert "temperature 4.00, the highest allowed;" in sentence(wrong)
    assert "temperature 1.70;" in sentence(Calibration(1.7, 0.5, 40))


def test_all_answers_correct_does_not_give_probabilities_of_1() -> None:
    given = np.tile(np.array([0.8, 0.1, 0.1], np.float32), (94, 1))
    found = calibrate(np.zeros(94, int), given)
    # One extra wrong answer makes 95 of 96; the bisection is more precise than 1e-4.
    np.testing.assert_allclose(found.apply_temperature(given)[:, 0], 95 / 96, atol=1e-4)


@pytest.mark.parametrize("images, wrong", [(30, 0), (51, 0), (94, 3), (1000, 40)])
def test_the_threshold_uses_the_lower_bound_of_the_share(images: int, wrong: int) -> None:
    # The wrong answers have the lowest probabilities.
    best = np.linspace(0.99, 0.65, images, dtype=np.float32)
    probabilities = np.stack([best, 1 - best], axis=1)
    labels = (np.arange(images) >= images - wrong).astype(int)
    found = calibrate(labels, probabilities)
    tempered = found.apply_temperature(probabilities).max(axis=1)
    sure = tempered >= found.threshold
    if images < 52:
        # Even all answers correct do not prove 95 %; the bound is largest for all answers together.
        assert sure.all() and found.threshold >= 0.6
    else:
        right = int(np.sum(labels[sure] == 0))
        assert wilson_interval(right, int(sure.sum()), 1.645)[0] >= 0.95
        assert not sure.all() or wilson_interval(images - wrong, images, 1.645)[0] >= 0.95


def test_the_threshold_is_at_least_the_default() -> None:
    random = np.random.default_rng(0)
    best = random.uniform(0.34, 0.5, 300).astype(np.float32)
    probabilities = np.stack([best, (1 - best) / 2, (1 - best) / 2], axis=1)
    found = calibrate(np.zeros(300, int), probabilities)
    assert found.threshold >= 0.6


def test_calibration_is_read_from_the_run(tmp_path: Path) -> None:
    assert read(tmp_path) is UNCALIBRATED
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({"temperature": 1.5, "threshold": 0.7, "photos": 9}))
    assert read(tmp_path) == Calibration(1.5, 0.7, 9)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"temperature": 1}', '{"temperature": 0, "threshold": 1, "photos": 1}']
)
def test_a_damaged_file_is_named_in_the_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(RunError, match=r"calibration\.json"):
        read(tmp_path)
