"""Rung 6: the loss at moderate inputs, where it saturates, and where it is clipped."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from chifoumi_jax.losses import Loss, categorical_crossentropy
from parity.candidate import Candidate
from parity.check import Check
from parity.comparison import Comparison, compare
from parity.original import LiveOriginal, Original
from parity.originals.golden import GoldenOriginal
from parity.precision import pinned
from reference.legacy import seeded

_BOUNDS = {"float32": 1e-6, "float64": 1e-14}
_BECAUSE = {
    "float32": "a few float32 roundings of values up to 16 to 400; measured 2e-7",
    "float64": "a few float64 roundings; measured 6e-16",
}


def checks(original: Original) -> Iterator[Check]:
    """Losses from logits, and from probabilities if recorded; ties; the printed metric."""
    for dtype in ("float32", "float64"):
        limits: dict[str, Any] = {"bound": _BOUNDS[dtype], "because": _BECAUSE[dtype]}
        yield original.check(
            6,
            **limits,
            case=f"{dtype}, from logits",
            run=functools.partial(_from_logits, original, dtype),
            quick=isinstance(original, LiveOriginal),
        )
        if isinstance(original, GoldenOriginal) and original.losses_of_probabilities(dtype):
            yield original.check(
                6,
                **limits,
                case=f"{dtype}, from probabilities",
                run=functools.partial(_from_probabilities, original, dtype),
            )
        yield original.check(
            6,
            case=f"{dtype}, ties of ReLU and pooling",
            bound=0.0,
            because="values and gradients are selected or added, never rounded",
            run=functools.partial(_ties, original, dtype),
            quick=dtype == "float64" and isinstance(original, LiveOriginal),
        )
    if isinstance(original, GoldenOriginal) and "metric" in original.golden.metadata:
        yield original.check(
            6,
            case="an epoch's printed metric",
            bound=1e-4,
            because="Keras prints four decimals",
            run=functools.partial(_printed, original),
        )


def _from_logits(original: Original, dtype: str, candidate: Candidate) -> Comparison:
    with pinned(dtype):
        logits, labels = seeded.loss_logits(dtype)
        values, gradient = _value_and_gradient(candidate.loss, logits, labels)
        return compare({"value": values, "gradient": gradient}, original.losses(dtype))


def _from_probabilities(original: GoldenOriginal, dtype: str, candidate: Candidate) -> Comparison:
    with pinned(dtype):
        probabilities, labels = seeded.loss_probabilities(dtype)
        values, gradient = _value_and_gradient(categorical_crossentropy, probabilities, labels)
        found = {"value": values, "gradient": gradient}
        return compare(found, original.losses_of_probabilities(dtype))


def _value_and_gradient(
    loss: Loss, inputs: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    classes = jnp.asarray(labels)
    values, pull_back = jax.vjp(lambda x: loss(x, classes), jnp.asarray(inputs))
    return np.asarray(values), np.asarray(pull_back(jnp.ones_like(values))[0])


def _ties(original: Original, dtype: str, candidate: Candidate) -> Comparison:
    with pinned(dtype):
        return compare(candidate.ties(dtype), original.ties(dtype))


def _printed(original: GoldenOriginal, candidate: Candidate) -> Comparison:
    recorded = original.golden.metadata["metric"]
    batches = list(zip(recorded["values"], recorded["sizes"], strict=True))
    ours = {"printed": np.array(candidate.printed(batches))}
    return compare(ours, {"printed": np.array(recorded["printed"])})
