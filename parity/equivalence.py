"""Tests on real photos whether independent training in Keras and JAX reaches equal accuracy.

    python -m parity.equivalence --data DIR --train-list FILE --seeds 70

Both frameworks train the study's CNN with the study's recipe on the same photos, each with its own
initial weights, order and dropout. The result file is written after every seed, so that an
interrupted command resumes. The committed result is part of the ladder, which fails once the code
that made it has changed.

Test: two one-sided t tests (Schuirmann, 1987) that the mean accuracies differ by less than the
margin, with Welch's standard error.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import stats

from chifoumi_jax.errors import UserError
from chifoumi_jax.files import write_atomically, write_json
from chifoumi_jax.fingerprint import CPP_SUFFIXES, fingerprint
from chifoumi_jax.metrics import wilson_interval
from parity.independent_training import Train, jax_training, keras_training, recipe_with
from reference import photos

ROOT = Path(__file__).parent.parent
RESULT = Path(__file__).parent / "results" / "equivalence.json"

MARGIN = 0.05
CONFIDENCE = 0.95
POWER = 0.9
# Chance is one third with three classes; a run below one half after training has learnt nothing.
AT_CHANCE = 0.5
# More than the 16 that `seeds_needed` gives for the measured spreads, for a narrow interval.
LEAST_SEEDS = 70
SETTINGS = {"image_size": 64, "epochs": 10, "batch_size": 25}

# Code on which the accuracies depend, in addition to the recipe's values; native kernels included.
_COMPUTED_BY = (
    "chifoumi_jax/data/order.py",
    "chifoumi_jax/losses.py",
    "chifoumi_jax/models/cnn.py",
    "chifoumi_jax/models/dropout.py",
    "chifoumi_jax/models/network.py",
    "chifoumi_jax/ops",
    "chifoumi_jax/optim.py",
    "chifoumi_jax/training/program.py",
    "chifoumi_jax/training/step.py",
    "parity/independent_training.py",
    "reference/keras_cnn.py",
    "reference/order.py",
    "reference/photos.py",
)
_PACKAGES = ("chifoumi_jax", "parity", "reference")


class ResultError(UserError):
    """The committed result is absent, incomplete, or was made by other code."""


@dataclasses.dataclass(frozen=True)
class Equivalence:
    """The result of the test on two samples of accuracies.

    Attributes:
        difference: Mean accuracy of JAX minus that of Keras.
        low: Lower end of the difference's interval, of confidence 1 - 2 (1 - CONFIDENCE).
        high: Upper end of that interval.
        p: The larger p value of the two one-sided tests.
        needed: Seeds per framework that a power of `POWER` needs at this spread.
    """

    difference: float
    low: float
    high: float
    p: float
    needed: int

    @property
    def holds(self) -> bool:
        """Whether the means differ by less than the margin, with confidence `CONFIDENCE`."""
        return self.p <= 1 - CONFIDENCE

    def sentence(self) -> str:
        """The result on one line."""
        return (
            f"JAX {self.difference:+.2%} against Keras, {2 * CONFIDENCE - 1:.0%} interval "
            f"{self.low:+.2%} to {self.high:+.2%}, margin {MARGIN:.0%}, p = {self.p:.1e}"
        )


def tost(
    ours: Sequence[float] | Float64[np.ndarray, " ours"],
    theirs: Sequence[float] | Float64[np.ndarray, " theirs"],
    margin: float = MARGIN,
) -> Equivalence:
    """Two one-sided t tests on two independent samples.

    Raises:
        ValueError: If a sample has fewer than two values, or if no sample varies beyond rounding.
    """
    samples = [np.asarray(side, np.float64) for side in (ours, theirs)]
    if min(map(len, samples)) < 2:
        raise ValueError("an equivalence test needs at least two runs per framework")
    parts = [side.var(ddof=1) / len(side) for side in samples]
    error = math.sqrt(sum(parts))
    # Equal accuracies differ by the rounding of their mean; unequal ones by at least one image.
    if error < 1e-9:
        raise ValueError("all runs have the same accuracy: there is nothing to test")
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, samples, strict=True)
    )
    difference = float(samples[0].mean() - samples[1].mean())
    t = stats.t(freedom)
    p = max(t.sf((difference + margin) / error), t.cdf((difference - margin) / error))
    half = float(t.ppf(CONFIDENCE)) * error
    return Equivalence(
        difference,
        difference - half,
        difference + half,
        float(p),
        seeds_needed(float(np.mean([side.var(ddof=1) for side in samples])), margin),
    )


def seeds_needed(variance: float, margin: float = MARGIN) -> int:
    """Runs per framework with which equal means are found equivalent with probability `POWER`."""
    quantiles = stats.norm.ppf(CONFIDENCE) + stats.norm.ppf((1 + POWER) / 2)
    return math.ceil(2 * variance * (quantiles / margin) ** 2)


def code_fingerprint(root: Path = ROOT) -> str:
    """SHA-256 of everything that determines the accuracies: code, settings, recipe values.

    Raises:
        ResultError: If a file is absent, for example outside a checkout.
    """
    try:
        return fingerprint(_files(root), _PACKAGES, recipe_values(SETTINGS))
    except OSError as error:
        raise ResultError(
            f"{error.filename} is absent: run this in a checkout, because the result's validity "
            "depends on the source files"
        ) from error


def recipe_values(settings: Mapping[str, int]) -> str:
    """All fields of the trained recipe and their values, as JSON text."""
    values = dataclasses.asdict(recipe_with(settings))
    return json.dumps({name: str(value) for name, value in values.items()}, sort_keys=True)


def _files(root: Path) -> Iterator[Path]:
    for name in _COMPUTED_BY:
        path = root / name
        if path.is_dir():
            yield from (file for file in path.rglob("*") if file.suffix in {".py", *CPP_SUFFIXES})
        else:
            yield path


def read_result(path: Path = RESULT) -> dict[str, Any]:
    """The committed result.

    Raises:
        ResultError: If it is absent, is not a result, or was made by other code.
    """
    remedy = "move it away, run `python -m parity.equivalence` and commit the new result"
    result = _parsed(path)
    if result.get("code") != code_fingerprint():
        raise ResultError(f"{path} was made by other code than this; {remedy}")
    return result


def _parsed(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text())
    except OSError as error:
        raise ResultError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ResultError(f"{path} is not JSON ({error}): move it away to start again") from error
    if not isinstance(result, dict) or not isinstance(result.get("runs"), dict):
        raise ResultError(
            f"{path} is not a result of `python -m parity.equivalence`: move it away to start again"
        )
    return result


def accuracies(result: dict[str, Any], side: str, key: str = "test_accuracy") -> list[float]:
    """The accuracies of one framework ("jax" or "keras"), in the order of the seeds."""
    return [run[key] for run in result["runs"][side]]


def share_at_chance(result: dict[str, Any], side: str) -> tuple[int, int]:
    """How many runs of one framework stayed at chance, and how many runs it has."""
    found = accuracies(result, side, "train_accuracy")
    return sum(value < AT_CHANCE for value in found), len(found)


def collect(
    path: Path, sides: dict[str, Train], seeds: int, about: dict[str, Any]
) -> dict[str, Any]:
    """Train the missing seeds of each framework, and write the result file after each run.

    Raises:
        ResultError: If the file at `path` was made by other code or from other photos.
    """
    result: dict[str, Any] = {**about, "runs": {side: [] for side in sides}}
    if path.exists():
        found = _parsed(path)
        if any(found.get(key) != about[key] for key in ("code", "settings", "photos")):
            raise ResultError(
                f"{path} was made by other code or from other photos: move it away to start again"
            )
        result["runs"] = found["runs"]
    for seed in range(seeds):
        for side, train in sides.items():
            if len(result["runs"][side]) <= seed:
                trained, tested = train(seed)
                run = {"seed": seed, "train_accuracy": trained, "test_accuracy": tested}
                result["runs"][side].append(run)
                write_json(path, result)
                print(f"{side} seed {seed}: train {trained:.2%}, test {tested:.2%}", flush=True)
    return result


def report(result: dict[str, Any]) -> str:
    """The result as text."""
    lines = []
    for side in result["runs"]:
        values = np.array(accuracies(result, side))
        chance, runs = share_at_chance(result, side)
        low, high = wilson_interval(chance, runs)
        lines.append(
            f"{side}: {runs} runs, test accuracy {values.mean():.2%} (standard deviation "
            f"{values.std(ddof=1):.2%}); at chance {chance} ({low:.0%} to {high:.0%})"
        )
    found = tost(accuracies(result, "jax"), accuracies(result, "keras"))
    lines.append(found.sentence())
    lines.append(f"Seeds per framework for a power of {POWER:.0%} at this spread: {found.needed}.")
    lines.append("Equivalent." if found.holds else "NOT shown to be equivalent.")
    return "\n".join(lines)


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw both distributions of test accuracies, with the number of runs at chance."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    edges = np.arange(0.2, 0.9, 0.025)
    for side, colour in (("keras", "#d9822b"), ("jax", "#2b6cb0")):
        values = accuracies(result, side)
        chance, runs = share_at_chance(result, side)
        label = f"{side}: mean {np.mean(values):.1%}, {chance} of {runs} at chance"
        axes.hist(values, edges.tolist(), alpha=0.55, color=colour, label=label)
        axes.axvline(float(np.mean(values)), color=colour)
    axes.set_xlabel("accuracy on photos of other sessions")
    axes.set_ylabel("runs")
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_atomically(path, content.getvalue())


def _seeds(text: str) -> int:
    if int(text) < 2:
        raise argparse.ArgumentTypeError("a test needs at least two runs per framework")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Collect the runs, test them, and draw them."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = argparse.ArgumentParser(prog="python -m parity.equivalence", description=__doc__)
    photos.add_arguments(parser)
    parser.add_argument("--seeds", type=_seeds, default=LEAST_SEEDS)
    parser.add_argument("--report", type=Path, default=RESULT, help="result file (.json)")
    options = parser.parse_args(arguments)
    size = SETTINGS["image_size"]
    train, test, classes = photos.read(options, size, photos.keras_pixels)
    digest = hashlib.sha256(train.pixels.tobytes() + test.pixels.tobytes()).hexdigest()
    about = {
        "command": "python -m parity.equivalence --data $PHOTOS --train-list "
        "$PHOTOS/study-train.txt",
        "code": code_fingerprint(),
        "settings": SETTINGS,
        "photos": {"train": len(train), "test": len(test), "classes": classes, "sha256": digest},
    }
    sides = {
        "keras": keras_training(train, test, SETTINGS),
        "jax": jax_training(train, test, SETTINGS),
    }
    try:
        result = collect(options.report, sides, options.seeds, about)
    except ResultError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report(result))
    plot(result, options.report.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
