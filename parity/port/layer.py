"""The layers of a reference, and the results of a forward pass of either side."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A weight or a running statistic of the reference.

    Attributes:
        name: The reference's name, such as `conv1.weight` or `dense/kernel`.
        role: Its role in the layer, the same for all frameworks: "kernel", "bias", "scale",
            "mean", "var", "embedding", "slope"; "input", "hidden", "input bias", "hidden bias" in
            recurrent layers; its own name in a layer of an unknown kind.
        shape: Its shape.
        trained: Whether training updates it by its gradient; running statistics are not trained.
        optional: Whether the port may hold it as a constant instead of a parameter.
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
        name: The reference's name.
        kind: "Linear", "Conv", "Depthwise", "ConvTranspose", "BatchNorm", "Norm", "Embedding",
            "PReLU", "LSTM", "GRU", "RNN", "Attention" or "Other".
        framework: "torch" or "keras".
        parameters: All its parameters and running statistics.
        gates: Order of a recurrent layer's gates: "ifgo", "rzn", "zrn" or "n".
        channels_first: Whether its inputs and outputs have their channels at axis 1.
        flattened: Shape of a linear layer's input before the flatten, without the batch axis.
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
    """One call of a layer: its arrays, in the layout of its framework.

    Attributes:
        place: Name of the reference's layer, or path of the candidate's module.
        inputs: Its input arrays: of NumPy, or of JAX while a candidate's run is traced.
        outputs: Its output arrays, one for each possible meaning of "output": for a Keras layer,
            after the activation and before it.
    """

    place: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Run:
    """A forward pass.

    Attributes:
        outputs: The model's outputs by name, in the reference's layout.
        statistics: The running statistics and other untrained arrays, after the pass.
        calls: The calls of layers, in the order in which they returned.
    """

    outputs: Arrays
    statistics: Arrays
    calls: tuple[Call, ...] = ()


@dataclasses.dataclass(frozen=True)
class Objective:
    """The objective that is differentiated.

    Attributes:
        cotangents: Factors of the outputs, by output name; the objective is the sum of all outputs
            times their factors.
        loss: The user's function of the model's outputs instead, if any.
        scale: Sum of the absolute values of the sum's terms; its rounding is relative to this.
    """

    cotangents: Arrays
    loss: Any = None
    scale: float | None = None
