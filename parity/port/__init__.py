"""Proves that any port of a Keras or PyTorch model computes the same as the original."""

from parity.port.compare import compare, transfer
from parity.port.mapping.mapping import WeightMapping
from parity.port.report import Report

__all__ = ["Report", "WeightMapping", "compare", "transfer"]
