"""A backbone in one file, as a user of the library would write it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from chifoumi_jax.backbones import BACKBONES, Entry
from chifoumi_jax.models.backbone import Backbone

NAME = "tiny"


class Tiny(Backbone):
    """Two convolutions, each of them a stage."""

    def __init__(
        self,
        image_size: int,
        num_classes: int,
        *,
        dropout_rate: float = 0.0,
        frozen_stages: int = 0,
        rngs: nnx.Rngs,
    ):
        self.image_size, self.num_classes = image_size, num_classes
        self.dropout_rate = dropout_rate
        self.is_first_frozen = frozen_stages > 0
        self.first = nnx.Conv(3, 8, (3, 3), strides=(2, 2), rngs=rngs)
        self.second = nnx.Conv(8, 16, (3, 3), strides=(2, 2), rngs=rngs)
        self.classify = nnx.Linear(16, num_classes, rngs=rngs)

    def feature_map(self, images: jax.Array, by_batch: bool = False) -> jax.Array:
        del by_batch  # There is no normalisation.
        x = nnx.relu(self.first(images))
        if self.is_first_frozen:
            x = jax.lax.stop_gradient(x)
        return nnx.relu(self.second(x))

    def is_frozen(self, path: tuple[Any, ...]) -> bool:
        return self.is_first_frozen and path[0] == "first"

    def load_pretrained(self, pretrained: Backbone) -> None:
        assert isinstance(pretrained, Tiny)
        for name in ("first", "second"):
            nnx.update(getattr(self, name), nnx.state(getattr(pretrained, name)))


def weights(image_size: int) -> Tiny:
    """Stand-in for pretrained weights; the first channel computes a position's brightness."""
    model = Tiny(image_size, 10, rngs=nnx.Rngs(7))
    model.first.kernel.set_value(model.first.kernel[...].at[..., 0].set(jnp.float32(1 / 27)))
    return model


BACKBONES[NAME] = Entry(build=Tiny, pretrained=weights)
