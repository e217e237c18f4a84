"""A recurrent layer's kernels and biases gate by gate, independent of how arrays group them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from parity.port.layer import Layer, Parameter
from parity.port.mapping.mapping import Entry, Pieces, Rule

#: The gate orders in use; all frameworks have the same order for the LSTM.
ORDERS = {"LSTM": ("ifgo",), "GRU": ("rzn", "zrn"), "RNN": ("n",)}


@dataclasses.dataclass(frozen=True)
class Source:
    """A kernel or a bias of the reference.

    Each of the two rows of a Keras GRU's bias is a source of its own.

    Attributes:
        layer: The recurrent layer.
        parameter: The parameter that holds it.
        operand: "i" if it is applied to the input, "h" if it is applied to the hidden state.
        is_bias: Whether it is a bias.
        row: Its row in the parameter, or None if it is the complete parameter.
    """

    layer: Layer
    parameter: Parameter
    operand: str
    is_bias: bool
    row: int | None = None

    @property
    def width(self) -> int:
        """Number of units of one gate."""
        gates = len(self.layer.gates)
        axis = 0 if self._transposed else -1
        return self.parameter.shape[axis] // gates

    @property
    def rows(self) -> int:
        """Number of features of the input or of the hidden state to which a kernel is applied."""
        return self.parameter.shape[1 if self._transposed else 0]

    @property
    def _transposed(self) -> bool:
        return self.layer.framework == "torch" and len(self.parameter.shape) == 2

    def merges(self, gate: str) -> bool:
        """Whether this gate's two biases are added, so that one array could hold their sum.

        In a GRU, the reset gate multiplies only one of the new state's two biases.
        """
        separate = self.layer.kind == "GRU" and self.operand == "h" and gate == "n"
        return self.is_bias and not separate

    def gate(self, array: np.ndarray, gate: str) -> np.ndarray:
        """One gate's part, of shape (rows, width) or (width,)."""
        if self.row is not None:
            array = array[self.row]
        elif self._transposed:
            array = array.T
        place = self.layer.gates.index(gate)
        return array[..., place * self.width : (place + 1) * self.width]

    def entry(self, targets: Sequence["Target"]) -> Entry:
        """The mapping entry that writes gates of this source to the targets."""

        def apply(array: np.ndarray) -> Pieces:
            return tuple(target.fill(self, array) for target in targets)

        paths = tuple(target.path for target in targets)
        return Entry(
            self.parameter.name, self.parameter.shape, paths, Rule(self._describe(targets), apply)
        )

    def _describe(self, targets: Sequence["Target"]) -> str:
        parts = []
        if self.row is not None:
            parts.append(f"row {self.row}")
        if self._transposed != any(target.transposed for target in targets):
            parts.append("(in, out) ← (out, in)" if self._transposed else "(out, in) ← (in, out)")
        orders = [target.gates for target in targets]
        if len(orders) > 1:
            parts.append(f"gates {', '.join(orders)} apart")
        elif orders and orders[0] != self.layer.gates:
            parts.append(f"gates {orders[0].replace('.', '–')} ← {self.layer.gates}")
        return "; ".join(parts)


@dataclasses.dataclass(frozen=True)
class Target:
    """An array of the candidate that holds some gates.

    Attributes:
        path: Its path.
        shape: Its shape.
        gates: The gates in its order; a full stop stands for a gate that the source does not fill.
        row: The row of the array that holds them, or None if they fill the complete array.
        transposed: Whether its gates are along the first axis.
    """

    path: str
    shape: tuple[int, ...]
    gates: str
    row: int | None = None
    transposed: bool = False

    def fill(self, source: Source, array: np.ndarray) -> np.ndarray:
        """The candidate's array, with zeros in the entries that the source does not fill."""
        first = source.gate(array, source.layer.gates[0])
        parts = [
            np.zeros_like(first) if gate == "." else source.gate(array, gate) for gate in self.gates
        ]
        joined = np.concatenate(parts, axis=-1)
        if self.transposed:
            joined = joined.T
        if self.row is None:
            return joined
        rows = np.zeros((2, *joined.shape), joined.dtype)
        rows[self.row] = joined
        return rows


def sources(layer: Layer) -> list[Source]:
    """The layer's kernels and biases."""
    found = []
    for parameter in layer.parameters:
        is_bias = "bias" in parameter.role
        operand = "h" if parameter.role.startswith("hidden") else "i"
        if is_bias and len(parameter.shape) == 2:
            found += [Source(layer, parameter, "ih"[row], True, row) for row in (0, 1)]
        else:
            found.append(Source(layer, parameter, operand, is_bias))
    return found
