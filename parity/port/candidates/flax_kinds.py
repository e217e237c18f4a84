"""The kinds of Flax's NNX and Linen layers, by the layout of their weights."""

from typing import Any

from flax import linen, nnx

_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((nnx.Linear, linen.Dense), "Linear"),
    ((nnx.LinearGeneral, linen.DenseGeneral, nnx.Einsum, linen.Einsum), "General"),
    ((nnx.Conv, linen.Conv), "Conv"),
    ((nnx.ConvTranspose, linen.ConvTranspose), "ConvTranspose"),
    ((nnx.BatchNorm, linen.BatchNorm), "BatchNorm"),
    ((nnx.LayerNorm, nnx.GroupNorm, nnx.RMSNorm), "Norm"),
    ((linen.LayerNorm, linen.GroupNorm, linen.RMSNorm), "Norm"),
    ((nnx.Embed, linen.Embed), "Embedding"),
    ((nnx.GRUCell, linen.GRUCell), "GRU"),
    ((nnx.LSTMCell, nnx.OptimizedLSTMCell), "LSTM"),
    ((linen.LSTMCell, linen.OptimizedLSTMCell), "LSTM"),
    ((nnx.MultiHeadAttention, linen.MultiHeadDotProductAttention), "Attention"),
)


def kind_of(module: Any) -> str:
    """The layer's kind, or an empty string for a module of the user's own.

    A transposed convolution with `transpose_kernel=True`, whose kernel has the layout of a
    convolution's gradient, is "ConvTranspose, transpose_kernel".
    """
    for classes, kind in _KINDS:
        if isinstance(module, classes):
            if kind == "ConvTranspose" and getattr(module, "transpose_kernel", False):
                return "ConvTranspose, transpose_kernel"
            return kind
    return ""
