"""What the software of 2018 computed for a small system, read from its recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from parity.check import HasChecks
from parity.comparison import Comparison, compare
from parity.system_case import Arrays, Step, SystemCase
from reference.legacy import systems_inputs
from reference.legacy.systems_golden import Recording

PYTORCH = "PyTorch 1.0.0"
KERAS = "Keras 2.2.4 on TensorFlow 1.12.0"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """A recorded training, which begins with the recording's weights.

    Attributes:
        dtype: Its precision.
        steps: Its steps, each with its own examples; empty if `orders` is given.
        orders: The order of the recording's batch in each epoch.
        losses: Key of the losses, of the steps or of the epochs.
        weights: Prefix of the keys of the weights.
        rows: Whether the weights have a row for each time that they were kept; the last one is
            compared.
        bound: The largest error, relative to each weight's largest value, and its reason.
    """

    dtype: str = "float64"
    steps: Sequence[Step] = ()
    orders: np.ndarray | None = None
    losses: str = "steps/loss"
    weights: str = "steps/weights/"
    rows: bool = True
    bound: tuple[float, str]

    @property
    def updates(self) -> int:
        """Number of updates."""
        return len(self.steps) if self.orders is None else self.orders.size


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RecordedSystem(HasChecks):
    """A recording with the inputs from which it was made.

    Attributes:
        name: Framework and version.
        case: The case of the port.
        recording: The results; keys begin with "float32/" or "float64/".
        weights: The weights with which every part begins, in float32.
        batch: The examples of outputs, losses and gradients.
        noise: All random numbers of that batch.
        outputs: Keys of the recorded outputs, by the names that `System.outputs` gives them.
        losses: Keys of the losses, by their names.
        gradients: Prefixes of the gradients' keys, by the prefixes of the weights' names.
        batch_gradients: Keys of the gradients by examples.
        gradient_dtypes: The dtypes in which losses and gradients are compared.
        training: A training, if one was recorded.
    """

    name: str
    case: SystemCase
    recording: Recording
    weights: Arrays
    batch: Arrays
    noise: Any = ()
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    losses: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"loss": "loss"})
    gradients: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"": "gradient/"})
    batch_gradients: Mapping[str, str] = dataclasses.field(default_factory=dict)
    gradient_dtypes: Sequence[str] = ("float64", "float32")
    training: Training | None = None

    def under(self, dtype: str, keys: Mapping[str, str]) -> dict[str, np.ndarray]:
        """The recorded results by the port's names; `keys` has the recording's."""
        return {name: self.recording[f"{dtype}/{key}"] for name, key in keys.items()}

    def by_weight(self, dtype: str, prefixes: Mapping[str, str]) -> dict[str, np.ndarray]:
        """The recorded results of each weight; `prefixes` is as in `gradients`."""
        return {
            own + name: value
            for own, prefix in prefixes.items()
            for name, value in self.recording.under(f"{dtype}/{prefix}").items()
        }


def compare_digests(
    ours: Arrays, recorded: Arrays, names: Mapping[str, str] | None = None
) -> Comparison:
    """Compare every recorded value; of a large array both sides are digests.

    Args:
        ours: The port's arrays; those that were not recorded are left out.
        recorded: The recorded values, or their digests.
        names: What seeds the places of a digest, if not the name of a weight in its network.
    """
    found = {}
    for name, value in recorded.items():
        flat = np.asarray(ours[name]).reshape(-1)
        if flat.size != value.size:
            flat = systems_inputs.digest((names or {}).get(name, _in_network(name)), flat)
        found[name] = flat
    return compare(found, {name: value.reshape(-1) for name, value in recorded.items()})


def _in_network(name: str) -> str:
    """`dense_1/kernel` of `generator/dense_1/kernel`."""
    return "/".join(name.split("/")[-2:])
