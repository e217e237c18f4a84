import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from parity import equivalence
from parity.equivalence import ResultError, collect, read_result, seeds_needed, tost


def _samples(difference: float, spread: float, runs: int) -> tuple[list[float], list[float]]:
    # Scaled quantiles, so that the sample has exactly this mean and standard deviation.
    quantiles = stats.norm.ppf((np.arange(runs) + 0.5) / runs)
    quantiles /= quantiles.std(ddof=1)
    theirs = 0.5 + spread * quantiles
    return list(theirs + difference), list(theirs)


def test_equal_samples_are_equivalent() -> None:
    found = tost(*_samples(0.0, 0.05, 70))
    assert found.holds
    assert found.difference == pytest.approx(0.0)
    # Half of the interval for two samples of 70 with standard deviation 5 points, from the formula.
    half = stats.t.ppf(0.95, 138) * 0.05 * np.sqrt(2 / 70)
    assert found.low == pytest.approx(-half)
    assert found.high == pytest.approx(half)


@pytest.mark.parametrize("difference", [0.06, -0.06, 0.045, -0.045])
def test_large_or_uncertain_differences_are_not_equivalent(difference: float) -> None:
    assert not tost(*_samples(difference, 0.05, 70)).holds


def test_too_few_runs_are_not_equivalent() -> None:
    assert not tost(*_samples(0.0, 0.09, 8)).holds


def test_the_test_holds_exactly_if_the_interval_is_inside_the_margin() -> None:
    for difference in np.linspace(-0.06, 0.06, 25):
        found = tost(*_samples(float(difference), 0.06, 30))
        inside = found.low > -equivalence.MARGIN and found.high < equivalence.MARGIN
        assert found.holds == inside


def test_too_few_or_constant_runs_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least two"):
        tost([0.5], [0.5, 0.6])
    with pytest.raises(ValueError, match="nothing to test"):
        tost([0.5, 0.5], [0.5, 0.5])


def test_the_seeds_needed_reach_the_stated_power() -> None:
    spread, rng = 0.09, np.random.default_rng(0)
    runs = seeds_needed(spread**2)
    assert 60 <= runs <= 80
    draws = rng.normal(0.5, spread, (2000, 2, runs))
    holds = np.mean([tost(a, b).holds for a, b in draws])
    # Three standard errors of a share of 2000.
    assert abs(holds - equivalence.POWER) < 3 * np.sqrt(0.09 / 2000)


def test_an_interrupted_collection_resumes(tmp_path: Path) -> None:
    about = {"code": "c", "settings": {}, "photos": {}}
    trained: list[tuple[str, int]] = []

    def side(name: str, fails_at: int = -1):  # type: ignore[no-untyped-def]
        def train(seed: int) -> tuple[float, float]:
            if seed == fails_at:
                raise KeyboardInterrupt
            trained.append((name, seed))
            return 0.9, 0.5 + seed / 100

        return train

    path = tmp_path / "result.json"
    with pytest.raises(KeyboardInterrupt):
        collect(path, {"keras": side("keras"), "jax": side("jax", fails_at=1)}, 3, about)
    before = list(trained)
    result = collect(path, {"keras": side("keras"), "jax": side("jax")}, 3, about)
    assert before == [("keras", 0), ("jax", 0), ("keras", 1)]
    assert sorted(trained) == [(name, seed) for name in ("jax", "keras") for seed in range(3)]
    assert equivalence.accuracies(result, "jax") == [0.5, 0.51, 0.52]
    with pytest.raises(ResultError, match="other code"):
        collect(path, {}, 3, {**about, "code": "another"})


def test_a_stale_result_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"code": "0" * 64, "runs": {}}))
    with pytest.raises(ResultError, match="other code"):
        read_result(path)
    with pytest.raises(ResultError, match="No such file"):
        read_result(tmp_path / "absent.json")
    for broken in ("{", "[]", "{}"):
        path.write_text(broken)
        with pytest.raises(ResultError, match="move it away"):
            read_result(path)


@pytest.mark.parametrize(
    ("runs", "trained", "wrong"),
    [(2, 0.9, "runs per framework"), (70, 0.34, "jax: most runs learnt"), (70, 0.9, "")],
)
def test_too_few_runs_and_runs_that_learnt_nothing_prove_nothing(
    runs: int, trained: float, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from parity.rungs import accuracy
    from parity.systems.study_cnn import PORT

    results = [
        {"seed": seed, "train_accuracy": trained, "test_accuracy": 0.5 + 0.001 * (seed % 3)}
        for seed in range(runs)
    ]
    made = {"runs": {"jax": results, "keras": results}}
    monkeypatch.setattr(equivalence, "read_result", lambda: made)
    beyond = accuracy._equivalence(PORT).first_beyond(0.05)
    assert (beyond.quantity if beyond else "") == wrong
