"""From what the user gives to a candidate and a reference."""

import sys
from typing import Any

from flax import linen, nnx

from parity.port.candidate import Candidate
from parity.port.function_candidate import FunctionCandidate
from parity.port.linen_candidate import LinenCandidate
from parity.port.nnx_candidate import NNXCandidate
from parity.port.reference import Reference


def candidate_of(candidate: Any) -> Candidate:
    """The port.

    Args:
        candidate: An NNX module, `(linen_module, variables)` or `(function, params)`.

    Raises:
        TypeError: If it is none of these.
    """
    if isinstance(candidate, nnx.Module):
        return NNXCandidate(candidate)
    if isinstance(candidate, tuple) and len(candidate) == 2:
        first, second = candidate
        if isinstance(first, linen.Module):
            return LinenCandidate(first, second)
        if callable(first) and not isinstance(first, nnx.Module):
            return FunctionCandidate(first, second)
    if isinstance(candidate, linen.Module):
        raise TypeError("a Linen module does not hold its weights: give (module, variables)")
    raise TypeError(
        f"the candidate is a {type(candidate).__name__}: give a Flax NNX module, "
        "(linen_module, variables) or (function, params)"
    )


def reference_of(reference: Any, batch: Any) -> Reference:
    """The original. Neither framework is imported that the model is not of.

    Args:
        reference: A `torch.nn.Module` or a `keras.Model`.
        batch: What it is called with.

    Raises:
        TypeError: If it is neither.
    """
    if "torch" in sys.modules and isinstance(reference, sys.modules["torch"].nn.Module):
        from parity.port.torch_reference import TorchReference

        return TorchReference(reference, batch)
    if "keras" in sys.modules and isinstance(reference, sys.modules["keras"].Model):
        from parity.port.keras_reference import KerasReference

        return KerasReference(reference, batch)
    raise TypeError(
        f"the reference is a {type(reference).__name__}: give a torch.nn.Module or a keras.Model "
        "(of Keras 3)"
    )
