"""What a network must offer to be trained on from pretrained weights."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from chifoumi_jax.models.dropout import draw_mask, dropout
from chifoumi_jax.models.network import Network


class Backbone(Network):
    """Convolutions, the mean over all places, dropout, and one linear layer.

    A subclass sets `image_size`, `num_classes`, `dropout_rate` and `classify`, computes the
    convolutions in `feature_map`, and says which layers `is_frozen` names and how it copies
    pretrained weights (`load_pretrained`).
    """

    classify: nnx.Linear

    layer_kinds: ClassVar = {"feature_map": "Convolutions", "classify": "Linear"}

    @abstractmethod
    def feature_map(
        self, images: Float[Array, "batch height width 3"], by_batch: bool = False
    ) -> Float[Array, "batch rows columns features"]:
        """What the last convolution makes of RGB in [0, 1]; see `__call__`."""

    @abstractmethod
    def is_frozen(self, path: tuple[Any, ...]) -> bool:
        """Whether what stands at this path of the state stays as it was pretrained."""

    @abstractmethod
    def load_pretrained(self, pretrained: "Backbone") -> None:
        """Copy all weights and running statistics of another one, except the last layer's."""

    def __init_subclass__(cls, **given: Any) -> None:
        # `take_over` was the name of `load_pretrained` up to version 0.1.0.
        earlier = cls.__dict__.get("take_over")
        if earlier is not None and "load_pretrained" not in cls.__dict__:
            cls.load_pretrained = earlier  # type: ignore[method-assign]
        super().__init_subclass__(**given)

    def features(
        self, images: Float[Array, "batch height width 3"], by_batch: bool = False
    ) -> Float[Array, "batch features"]:
        """What the last layer classifies."""
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
            masks: Dropout is active if they are given.
            by_batch: Normalise by each batch's moments, and let the running ones follow (in place:
                under `jax.jit` split the model first).
        """
        x = self.features(images, by_batch)
        if masks is not None:
            x = dropout(x, masks[0], self.dropout_rate)
        logits: Array = self.classify(x)
        return logits

    def classify_map(
        self, maps: Float[Array, "batch rows columns features"]
    ) -> Float[Array, "batch classes"]:
        """Logits from `feature_map`, in evaluation mode."""
        logits: Array = self.classify(jnp.mean(maps, axis=(1, 2)))
        return logits

    def map_centres(self, places: int) -> tuple[float, float]:
        """The places share the side of the image evenly.

        So trained weights of EfficientNet-Lite0 see it, though by its padding each place would lie
        half a place further on: in the middle of images of 320 pixels, the gradients of a place
        have their centre within 1.5 pixels of there.
        """
        step = self.image_size / places
        return (step - 1) / 2, step

    def activations(
        self, images: Float[Array, "batch height width 3"], by_batch: bool = False
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """What is worth a line of a summary, in order, without dropout."""
        maps = self.feature_map(images, by_batch)
        return {"feature_map": maps, "classify": self.classify_map(maps)}

    @property
    def layers(self) -> Mapping[str, nnx.Module]:
        """The parts that have parameters, by the names of `activations`, in order."""
        parts = [part for name, part in vars(self).items() if name != "classify"]
        modules = [part for part in parts if isinstance(part, nnx.Module)]
        return {"feature_map": nnx.List(modules), "classify": self.classify}

    def draw_masks(self, key: Key[Array, ""], batch: int) -> tuple[Bool[Array, "batch features"]]:
        """One dropout mask for each place that has one."""
        return (draw_mask(key, (batch, self.classify.in_features), self.dropout_rate),)
