"""A recurrent layer's kernels and biases, gate by gate, whatever holds them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from parity.port.layer import Layer, Parameter
from parity.port.mapping.mapping import Entry, Pieces, Rule

#: Orders of the gates that are in use; all agree on the LSTM's.
ORDERS = {"LSTM": ("ifgo",), "GRU": ("rzn", "zrn"), "RNN": ("n",)}


@dataclasses.dataclass(frozen=True)
class Source:
    """A kernel or a bias of the reference; of Keras's two rows of biases, each is one.

    Attributes:
        layer: The recurrent layer.
        parameter: What holds it.
        side: "i" for what meets the input, "h" for what meets the hidden state.
        is_bias: Whether it is a bias.
        row: Which row of the parameter it is, or None if it is all of it.
    """

    layer: Layer
    parameter: Parameter
    side: str
    is_bias: bool
    row: int | None = None

    @property
    def width(self) -> int:
        """Entries of one gate."""
        gates = len(self.layer.gates)
        joined = 0 if self._transposed else -1
        return self.parameter.shape[joined] // gates

    @property
    def rows(self) -> int:
        """What a kernel meets: features of the input or of the hidden state."""
        return self.parameter.shape[1 if self._transposed else 0]

    @property
    def _transposed(self) -> bool:
        return self.layer.framework == "torch" and len(self.parameter.shape) == 2

    def merges(self, gate: str) -> bool:
        """Whether this gate's two biases are added, so that one could hold their sum.

        In a GRU the reset gate comes between the new state's two.
        """
        return self.is_bias and not (self.layer.kind == "GRU" and self.side == "h" and gate == "n")

    def gate(self, array: np.ndarray, gate: str) -> np.ndarray:
        """One gate's part, (rows, width) or (width,)."""
        if self.row is not None:
            array = array[self.row]
        elif self._transposed:
            array = array.T
        place = self.layer.gates.index(gate)
        return array[..., place * self.width : (place + 1) * self.width]

    def entry(self, targets: Sequence["Target"]) -> Entry:
        """Puts gates of this source there."""

        def apply(array: np.ndarray) -> Pieces:
            return tuple(target.fill(self, array) for target in targets)

        paths = tuple(target.path for target in targets)
        return Entry(
            self.parameter.name, self.parameter.shape, paths, Rule(self._words(targets), apply)
        )

    def _words(self, targets: Sequence["Target"]) -> str:
        said = []
        if self.row is not None:
            said.append(f"row {self.row}")
        if self._transposed != any(target.transposed for target in targets):
            said.append("(in, out) ← (out, in)" if self._transposed else "(out, in) ← (in, out)")
        orders = [target.gates for target in targets]
        if len(orders) > 1:
            said.append(f"gates {', '.join(orders)} apart")
        elif orders and orders[0] != self.layer.gates:
            said.append(f"gates {orders[0].replace('.', '–')} ← {self.layer.gates}")
        return "; ".join(said)


@dataclasses.dataclass(frozen=True)
class Target:
    """An array of the candidate that holds some gates.

    Attributes:
        path: Its path.
        shape: Its shape.
        gates: In its order, a full stop for one that gets nothing from here.
        row: Which row of the array, or None if it is all of it.
        transposed: Whether its gates lie along the first axis.
    """

    path: str
    shape: tuple[int, ...]
    gates: str
    row: int | None = None
    transposed: bool = False

    def fill(self, source: Source, array: np.ndarray) -> np.ndarray:
        """The candidate's array, with zeros for what does not come from this source."""
        first = source.gate(array, source.layer.gates[0])
        parts = [
            np.zeros_like(first) if gate == "." else source.gate(array, gate) for gate in self.gates
        ]
        joined = np.concatenate(parts, axis=-1)
        if self.transposed:
            joined = joined.T
        if self.row is None:
            return joined
        whole = np.zeros((2, *joined.shape), joined.dtype)
        whole[self.row] = joined
        return whole


def sources(layer: Layer) -> list[Source]:
    """The layer's kernels and biases."""
    found = []
    for parameter in layer.parameters:
        is_bias = "bias" in parameter.role
        side = "h" if parameter.role.startswith("hidden") else "i"
        if is_bias and len(parameter.shape) == 2:
            found += [Source(layer, parameter, "ih"[row], True, row) for row in (0, 1)]
        else:
            found.append(Source(layer, parameter, side, is_bias))
    return found
