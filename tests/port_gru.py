"""A GRU in PyTorch, and its port to NNX."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch import nn


class TorchTagger(nn.Module):
    """Embedding, GRU, and a linear layer at each step."""

    def __init__(self, layers: int = 1, bidirectional: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.gru = nn.GRU(6, 5, layers, batch_first=True, bidirectional=bidirectional)
        self.tags = nn.Linear(5 * (1 + bidirectional), 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states, _ = self.gru(self.embedding(tokens))
        tags: torch.Tensor = self.tags(states)
        return tags


class Cell(nnx.Module):
    """PyTorch's GRU, with a bias for the input and for the hidden state.

    `reset_first` plants a fault.
    """

    num_feature_axes = 1

    def __init__(self, inputs: int, hidden: int, rngs: nnx.Rngs, reset_first: bool = False) -> None:
        self.dense_i = nnx.Linear(inputs, 3 * hidden, rngs=rngs)
        self.dense_h = nnx.Linear(hidden, 3 * hidden, rngs=rngs)
        self.hidden, self.reset_first = hidden, reset_first

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: nnx.Rngs | None = None
    ) -> jax.Array:
        del rngs
        return jnp.zeros((*input_shape[:-1], self.hidden), self.dense_h.kernel.dtype)

    def __call__(self, h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        r_i, z_i, n_i = jnp.split(self.dense_i(x), 3, axis=-1)
        r_h, z_h, n_h = jnp.split(self.dense_h(h), 3, axis=-1)
        r, z = nnx.sigmoid(r_i + r_h), nnx.sigmoid(z_i + z_h)
        if self.reset_first:
            n_h = jnp.split(self.dense_h(r * h), 3, axis=-1)[2]
            n = jnp.tanh(n_i + n_h)
        else:
            n = jnp.tanh(n_i + r * n_h)
        h = (1 - z) * n + z * h
        return h, h


class Tagger(nnx.Module):
    """The port."""

    def __init__(self, rngs: nnx.Rngs, reset_first: bool = False) -> None:
        self.embed = nnx.Embed(11, 6, rngs=rngs)
        self.rnn = nnx.RNN(Cell(6, 5, rngs, reset_first))  # type: ignore[arg-type]
        self.tags = nnx.Linear(5, 3, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        return self.tags(self.rnn(self.embed(tokens)))


def reference() -> TorchTagger:
    torch.manual_seed(0)
    return TorchTagger()


def batch() -> np.ndarray:
    """Tokens."""
    return np.random.default_rng(0).integers(0, 11, (4, 7))
