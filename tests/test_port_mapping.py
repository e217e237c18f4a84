"""The weight mapping: names, orders, layouts, and the user's corrections."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from flax import nnx

import parity
from parity.port.mapping.pairing import likeness

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.standard_normal((3, 4)).astype("float32")
IMAGES = RANDOM.standard_normal((2, 3, 5, 6)).astype("float32")


class ThreeLayers(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
        self.c = torch.nn.Linear(4, 2)
        self.register_buffer("table", torch.full((4,), 2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.c(self.b(torch.relu(self.a(x))) * self.table)
        return y


class Misnamed(nnx.Module):
    """A port in which the layer named `a` runs second, unlike in the original."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.b, self.a = nnx.Linear(4, 4, rngs=rngs), nnx.Linear(4, 4, rngs=rngs)
        self.c = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.c(2 * self.a(nnx.relu(self.b(x))))


def test_misleading_names_do_not_mislead_the_mapping() -> None:
    report = parity.compare(Misnamed(), ThreeLayers(), FEATURES)
    assert report.passed, str(report)
    assert {n: p for n, p, _ in report.mapping.rows()}["a.weight"] == "b.kernel"
    assert "chosen numerically" in report.mapping.note
    assert "table: taken as a constant of the port" in str(report.mapping)


def test_the_users_mapping_is_used_even_if_it_is_wrong() -> None:
    given = {"a.weight": "a.kernel", "a.bias": "a.bias"}
    report = parity.compare(Misnamed(), ThreeLayers(), FEATURES, rungs=[5], mapping=given)
    assert {n: p for n, p, _ in report.mapping.rows()}["a.weight"] == "a.kernel"
    assert not report.passed


def test_the_users_mapping_may_contain_a_function() -> None:
    given = {"a.weight": ("b.kernel", lambda array: array.T), "a.bias": "b.bias"}
    report = parity.compare(Misnamed(), ThreeLayers(), FEATURES, mapping=given)
    assert report.passed, str(report)
    assert ("a.weight", "b.kernel", "as given") in report.mapping.rows()


def test_errors_in_the_users_mapping_are_reported() -> None:
    for given, message in (
        ({"a.wait": "a.kernel"}, "no parameter 'a.wait'; the nearest name is 'a.weight'"),
        ({"a.weight": "a.colonel"}, "no parameter 'a.colonel'; the nearest name is 'a.kernel'"),
        ({"a.weight": "a.bias"}, "no layout takes a.weight"),
        ({"a.weight": ("a.kernel", np.ravel)}, "function given for a.weight makes shapes"),
    ):
        with pytest.raises(ValueError, match=message.replace(".", r"\.")):
            parity.compare(Misnamed(), ThreeLayers(), FEATURES, mapping=given)


class Upsampler(torch.nn.Module):
    """Layers whose kernel shapes do not determine their layout."""

    def __init__(self) -> None:
        super().__init__()
        self.up = torch.nn.ConvTranspose2d(3, 3, 4, 2, 1)
        self.grouped = torch.nn.Conv2d(3, 6, 3, groups=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.grouped(torch.relu(self.up(x)))
        return y


class UpsamplerPort(nnx.Module):
    def __init__(self, transpose_kernel: bool) -> None:
        rngs = nnx.Rngs(0)
        self.up = nnx.ConvTranspose(
            3, 3, (4, 4), (2, 2), transpose_kernel=transpose_kernel, rngs=rngs
        )
        self.grouped = nnx.Conv(3, 6, (3, 3), padding="VALID", feature_group_count=3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.grouped(nnx.relu(self.up(x)))


@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_transposed_and_grouped_convolutions(transpose_kernel: bool) -> None:
    report = parity.compare(UpsamplerPort(transpose_kernel), Upsampler(), IMAGES, rungs=[1, 4, 5])
    assert report.passed, str(report)
    words = {path: rule for _, path, rule in report.mapping.rows()}
    expected = "HWOI ← IOHW" if transpose_kernel else "HWIO ← IOHW, space flipped"
    assert words["up.kernel"] == expected


def test_the_layout_of_a_function_is_found_from_its_outputs() -> None:
    def port(params: Any, x: jax.Array) -> jax.Array:
        up = jax.lax.conv_transpose(
            x, params["w1"], (2, 2), "SAME", transpose_kernel=True,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        grouped = jax.lax.conv_general_dilated(
            jax.nn.relu(up + params["b1"]), params["w2"], (1, 1), "VALID",
            dimension_numbers=("NHWC", "OIHW", "NHWC"), feature_group_count=3,
        )  # fmt: skip
        return grouped + params["b2"]

    shapes = {"w1": (4, 4, 3, 3), "b1": (3,), "w2": (6, 1, 3, 3), "b2": (6,)}
    params = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    report = parity.compare((port, params), Upsampler(), IMAGES, rungs=[1, 4, 5, 7])
    assert report.passed, str(report)
    words = {path: rule for _, path, rule in report.mapping.rows()}
    assert words["w1"] == "HWOI ← IOHW"
    assert words["w2"] == "as it is"


class Attentive(torch.nn.Module):
    """A convolution along a sequence, positions, attention, and a flatten of (time, features)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(3, 8, 3, padding=1)
        self.positions = torch.nn.Parameter(torch.randn(1, 5, 8))
        self.attention = torch.nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)
        self.norm, self.slope = torch.nn.LayerNorm(8), torch.nn.PReLU()
        self.linear = torch.nn.Linear(40, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.conv(x).transpose(1, 2) + self.positions
        x = self.slope(self.norm(x + self.attention(x, x, x)[0]))
        flat = F.dropout(x.flatten(1), 0.5, self.training)
        return self.linear(flat), x


def _attention(query: jax.Array, key: jax.Array, value: jax.Array, **_: Any) -> jax.Array:
    # Flax's default, jax.nn.dot_product_attention, computes its softmax in float32.
    scores = jnp.einsum("...qhd,...khd->...hqk", query, key) / query.shape[-1] ** 0.5
    return jnp.einsum("...hqk,...khd->...qhd", nnx.softmax(scores), value)


class AttentivePort(nnx.Module):
    def __init__(self, attention: Any = _attention) -> None:
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, 8, (3,), rngs=rngs)
        self.positions = nnx.Param(jnp.zeros((1, 5, 8)))
        self.attention = nnx.MultiHeadAttention(
            2, 8, decode=False, attention_fn=attention, rngs=rngs
        )
        self.norm = nnx.LayerNorm(8, epsilon=1e-5, rngs=rngs)
        self.slope = nnx.PReLU()
        self.linear = nnx.Linear(40, 2, rngs=rngs)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = self.conv(x) + self.positions[...]
        x = self.slope(self.norm(x + self.attention(x)))
        return self.linear(x.reshape(len(x), -1)), x


def test_attention_and_sequences_with_channels_before_time() -> None:
    sequences = RANDOM.standard_normal((2, 3, 5)).astype("float32")
    report = parity.compare(AttentivePort(), Attentive(), sequences)
    assert report.passed, str(report)
    rules = {name: (path, rule) for name, path, rule in report.mapping.rows()}
    assert rules["attention.in_proj_weight"][1].startswith("query, key and value apart")
    assert rules["positions"][0] == "positions"


def test_flaxs_own_attention_computes_in_float32_and_needs_wider_bounds() -> None:
    sequences = RANDOM.standard_normal((2, 3, 5)).astype("float32")
    port = AttentivePort(nnx.dot_product_attention)
    report = parity.compare(port, Attentive(), sequences, rungs=[5])
    assert "output of attention[" in report.first_fault
    assert "as jax.nn.dot_product_attention's softmax is" in report.first_fault
    bounds = {"forward": 1e-6, "gradients": 1e-6, "trajectory": 1e-5}
    report = parity.compare(port, Attentive(), sequences, bounds=bounds)
    assert report.passed, str(report)


def test_similarity_of_names_ignores_separators() -> None:
    assert likeness("layer1.0.conv2", "layer1_0_conv2") == 1
    assert likeness("layer1.0.bn2", "blocks.0.bn2") > likeness("layer1.0.bn2", "blocks.0.norm.1")
