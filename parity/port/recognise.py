"""Recognises the type of the user's models, and makes a candidate and a reference of them."""

import sys
from typing import Any

from flax import linen, nnx

from parity.port.candidates.base import Candidate
from parity.port.candidates.function import FunctionCandidate
from parity.port.candidates.linen import LinenCandidate
from parity.port.candidates.nnx import NNXCandidate
from parity.port.references.base import Reference


def candidate_of(candidate: Any) -> Candidate:
    """The port, from the user's model.

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
    """The original, from the user's model. Only that model's framework is imported.

    Args:
        reference: A `torch.nn.Module` or a `keras.Model`.
        batch: Its inputs; see `parity.compare`.

    Raises:
        TypeError: If it is neither.
    """
    if "torch" in sys.modules and isinstance(reference, sys.modules["torch"].nn.Module):
        from parity.port.references.torch import TorchReference

        return TorchReference(reference, batch)
    if "keras" in sys.modules and isinstance(reference, sys.modules["keras"].Model):
        from parity.port.references.keras import KerasReference

        return KerasReference(reference, batch)
    raise TypeError(
        f"the reference is a {type(reference).__name__}: give a torch.nn.Module or a keras.Model "
        "(of Keras 3)"
    )
