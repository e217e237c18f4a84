"""What a reference is made of, and what a run of either side leaves behind."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A weight or a statistic of the reference.

    Attributes:
        name: As the reference names it, such as `conv1.weight` or `dense/kernel`.
        role: What it is in its layer, whatever the framework: "kernel", "bias", "scale", "mean",
            "var", "embedding", "slope"; "input", "hidden", "input bias", "hidden bias" in
            recurrent layers; its own name in a layer of an unknown kind.
        shape: Its shape.
        trained: Whether a step of training moves it; running statistics are not trained.
        optional: Whether a port may have it as a constant instead.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    trained: bool = True
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of the reference that holds parameters.

    Attributes:
        name: As the reference names it.
        kind: "Linear", "Conv", "Depthwise", "ConvTranspose", "BatchNorm", "Norm", "Embedding",
            "PReLU", "LSTM", "GRU", "RNN", "Attention" or "Other".
        framework: "torch" or "keras".
        parameters: All that it holds.
        gates: Order of a recurrent layer's gates: "ifgo", "rzn", "zrn" or "n".
        channels_first: Whether its inputs and outputs have their channels at axis 1.
        flattened: What a linear layer's input was before it was flattened, without the batch.
    """

    name: str
    kind: str
    framework: str
    parameters: tuple[Parameter, ...]
    gates: str = ""
    channels_first: bool = False
    flattened: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer: its arrays, as its own framework lays them out.

    Attributes:
        place: The reference's layer, or the candidate's module.
        inputs: The arrays that it was given.
        outputs: The arrays that it returned, each a reading of its output: with a Keras layer,
            after the activation and before.
    """

    place: str
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Run:
    """A forward pass.

    Attributes:
        outputs: The model's outputs by name, in the reference's layout.
        statistics: What is not trained, after the pass.
        calls: The calls of layers in the order in which they returned.
    """

    outputs: Arrays
    statistics: Arrays
    calls: tuple[Call, ...] = ()


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is differentiated.

    Attributes:
        cotangents: For each output its factors in the sum that is the objective.
        loss: The user's function of the model's outputs instead, if any.
        size: Of the sum's terms, added without their signs: what its rounding is relative to.
    """

    cotangents: Arrays
    loss: Any = None
    size: float | None = None
