"""The base class of networks that are fine-tuned from pretrained weights."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from chifoumi_jax.models.dropout import draw_mask, dropout
from chifoumi_jax.models.network import Network


class Backbone(Network):
    """Convolutions, global average pooling, dropout, and one linear layer.

    A subclass sets `image_size`, `num_classes`, `dropout_rate` and `classify`, and computes the
    convolutions in `feature_map`. It defines which parameters are frozen (`is_frozen`) and how it
    copies pretrained weights (`load_pretrained`).
    """

    classify: nnx.Linear

    layer_kinds: ClassVar = {"feature_map": "Convolutions", "classify": "Linear"}

    @abstractmethod
    def feature_map(
        self, images: Float[Array, "batch height width 3"], by_batch: bool = False
    ) -> Float[Array, "batch rows columns features"]:
        """Returns the output of the last convolution for RGB in [0, 1]; see `__call__`."""

    @abstractmethod
    def is_frozen(self, path: tuple[Any, ...]) -> bool:
        """Whether the variable at this path of the state keeps its pretrained value."""

    @abstractmethod
    def load_pretrained(self, pretrained: "Backbone") -> None:
        """Copies all weights and running statistics from another model, except the last layer's."""

    def __init_subclass__(cls, **given: Any) -> None:
        # Up to version 0.1.0, `load_pretrained` was called `take_over`.
        earlier = cls.__dict__.get("take_over")
        if earlier is not None and "load_pretrained" not in cls.__dict__:
            cls.load_pretrained = earlier  # type: ignore[method-assign]
        super().__init_subclass__(**given)

    def features(
        self, images: Float[Array, "batch height width 3"], by_batch: bool = False
    ) -> Float[Array, "batch features"]:
        """Returns the features that the last layer classifies."""
        return jnp.mean(self.feature_map(images, by_batch), axis=(1, 2))

    def __call__(
        self,
        images: Float[Array, "batch height width 3"],
        masks: tuple[Bool[Array, "batch features"]] | None = None,
        by_batch: bool = False,
    ) -> Float[Array, "batch classes"]:
        """Returns logits.

        Args:
            images: RGB in [0, 1].
            masks: Dropout masks; dropout is active if they are given.
            by_batch: Normalise by the batch's own statistics, and update the running statistics in
                place (under `jax.jit`, split the model first).
        """
        x = self.features(images, by_batch)
        if masks is not None:
            x = dropout(x, masks[0], self.dropout_rate)
        logits: Array = self.classify(x)
        return logits

    def classify_map(
        self, maps: Float[Array, "batch rows columns features"]
    ) -> Float[Array, "batch classes"]:
        """Returns logits from the output of `feature_map`, in evaluation mode."""
        logits: Array = self.classify(jnp.mean(maps, axis=(1, 2)))
        return logits

    def map_centres(self, places: int) -> tuple[float, float]:
        """Spreads the positions evenly over the side of the image.

        The padding of EfficientNet-Lite0 would put each position half a step further on. Its
        trained weights nevertheless see the positions as spread evenly: in the middle of images of
        320 pixels, the gradients of a position are centred within 1.5 pixels of the even spread.
        """
        step = self.image_size / places
        return (step - 1) / 2, step

    def activations(
        self, images: Float[Array, "batch height width 3"], by_batch: bool = False
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """Returns the outputs that a summary lists, in order, without dropout."""
        maps = self.feature_map(images, by_batch)
        return {"feature_map": maps, "classify": self.classify_map(maps)}

    @property
    def layers(self) -> Mapping[str, nnx.Module]:
        """The parts that have parameters, by the names of `activations`, in order."""
        parts = [part for name, part in vars(self).items() if name != "classify"]
        modules = [part for part in parts if isinstance(part, nnx.Module)]
        return {"feature_map": nnx.List(modules), "classify": self.classify}

    def draw_masks(self, key: Key[Array, ""], batch: int) -> tuple[Bool[Array, "batch features"]]:
        """Draws one mask for each dropout in the network."""
        return (draw_mask(key, (batch, self.classify.in_features), self.dropout_rate),)
