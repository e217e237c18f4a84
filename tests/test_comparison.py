import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity.check import AbsentError, Check, run_check
from parity.comparison import Comparison, Difference, Sampled, compare, compare_exactly
from parity.precision import pinned

FINITE = st.floats(-1e6, 1e6, width=32)
ARRAYS = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4), elements=FINITE)


@given(ARRAYS)
def test_an_array_equals_itself(array: np.ndarray) -> None:
    for comparison in (
        compare({"x": array}, {"x": array}),
        compare_exactly({"x": array}, {"x": array}),
    ):
        assert comparison.worst.error == 0
        assert comparison.first_beyond(0.0) is None


@given(ARRAYS, st.data())
def test_one_changed_entry_is_found_at_its_index(array: np.ndarray, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, array.size - 1))
    index = np.unravel_index(place, array.shape)
    changed = array.copy()
    changed[index] += 1 + abs(array[index])
    found = compare({"a": array, "x": changed}, {"a": array, "x": array}).first_beyond(0.0)
    assert found is not None
    assert found.quantity == "x"
    assert found.index == tuple(int(i) for i in index)
    assert found.max_abs == pytest.approx(float(changed[index]) - float(array[index]), rel=1e-6)
    exact = compare_exactly({"x": changed}, {"x": array}).worst
    assert exact.error == pytest.approx(1 / array.size)


@pytest.mark.parametrize(
    ("candidate", "reference", "reason"),
    [
        ({}, {}, "nothing was compared"),
        ({}, {"x": np.ones(2)}, "the candidate has no such quantity"),
        ({"x": np.ones(2)}, {}, "the reference has no such quantity"),
        ({"x": np.ones(2)}, {"x": np.ones((2, 1))}, "shape (2,), the reference has (2, 1)"),
        ({"x": np.ones(0)}, {"x": np.ones(0)}, "there is no entry"),
        ({"x": np.array([1, np.nan])}, {"x": np.array([1, np.nan])}, "candidate has nan at [1]"),
        ({"x": np.array([np.inf])}, {"x": np.array([np.inf])}, "candidate has inf at [0]"),
        ({"x": np.array([1.0])}, {"x": np.array([np.nan])}, "reference has nan at [0]"),
    ],
)
def test_incomparable_arrays_never_pass(
    candidate: dict[str, np.ndarray], reference: dict[str, np.ndarray], reason: str
) -> None:
    for comparison in (compare(candidate, reference), compare_exactly(candidate, reference)):
        found = comparison.first_beyond(math.inf if not candidate and not reference else 1e300)
        assert comparison.worst.error == math.inf
        assert reason in comparison.worst.sentence()
        assert found is not None


def test_a_nan_error_does_not_pass() -> None:
    comparison = Comparison((Difference("x", math.nan),))
    assert comparison.first_beyond(1.0) is not None


def test_exact_comparison_distinguishes_zero_and_minus_zero() -> None:
    ours, theirs = {"x": np.array([0.0, 1.0])}, {"x": np.array([-0.0, 1.0])}
    assert compare(ours, theirs).worst.error == 0
    assert compare_exactly(ours, theirs).worst.error == 0.5


def test_exact_comparison_distinguishes_dtypes() -> None:
    ours, theirs = {"x": np.ones(2, np.float32)}, {"x": np.ones(2, np.float64)}
    assert compare_exactly(ours, theirs).worst.error == math.inf


def test_a_sample_is_compared_at_its_places() -> None:
    full = np.arange(12.0).reshape(3, 4)
    sample = Sampled(np.array([1.0, 7.0]), np.array([1, 7]), (3, 4))
    assert compare({"x": full}, {"x": sample}).worst.error == 0
    full[1, 3] = 9
    worst = compare({"x": full}, {"x": sample}).worst
    assert (worst.index, worst.candidate, worst.reference) == ((1, 3), 9.0, 7.0)
    full[1, 3], full[2, 2] = 7, 100
    assert compare({"x": full}, {"x": sample}).worst.error == 0


def test_the_error_is_relative_to_the_largest_entry() -> None:
    found = compare({"x": np.array([1e-3, 100.0])}, {"x": np.array([2e-3, 100.0])}).worst
    assert found.error == pytest.approx(1e-5)
    assert found.max_rel == pytest.approx(0.5)
    assert compare({"x": np.array([1.0])}, {"x": np.array([0.0])}).worst.error == math.inf


def _check(run: object, bound: float = 1.0) -> Check:
    return Check(5, "port", "original", "case", bound, "for the test", run)  # type: ignore[arg-type]


def test_verdicts_of_checks_that_pass_fail_or_raise() -> None:
    def absent(_: object) -> Comparison:
        raise AbsentError("give --photos")

    def broken(_: object) -> Comparison:
        raise KeyError("fc9")

    one = Comparison((Difference("x", 0.5), Difference("y", 2.0)))
    assert run_check(_check(lambda _: one, bound=2.0), None).status == "PASS"
    failed = run_check(_check(lambda _: one), None)
    assert failed.status == "FAIL"
    assert failed.first is not None and failed.first.quantity == "y"
    assert run_check(_check(lambda _: Comparison(())), None).status == "FAIL"
    assert run_check(_check(absent), None).status == "ABSENT"
    verdict = run_check(_check(broken), None)
    assert verdict.status == "FAIL"
    assert "KeyError" in verdict.message and "fc9" in verdict.message


def test_precision_is_pinned_and_restored() -> None:
    import jax
    import jax.numpy as jnp

    with pinned("float64"):
        assert jnp.ones(1).dtype == jnp.float64
        assert jax.config.jax_default_matmul_precision == "highest"  # type: ignore[attr-defined]
    assert jnp.ones(1).dtype == jnp.float32
