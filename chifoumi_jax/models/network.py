"""The base class of all networks, as training, command line, export and heat maps use it."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from chifoumi_jax.models.description import Layer


class Network(nnx.Module):
    """An image classifier that takes its dropout masks as an input.

    Convolutional networks also implement `feature_map`, `classify_map` and `map_centres`, which are
    needed for heat maps. Networks that are exported to other runtimes also implement `describe`.

    Attributes:
        image_size: Height and width of its images, in pixels.
        num_classes: Number of classes.
        dropout_rate: Fraction of the units that dropout sets to zero.
    """

    image_size: int
    num_classes: int
    dropout_rate: float

    layer_kinds: ClassVar[Mapping[str, str]]
    """The layer type that a summary shows, by the layer's name without its number."""

    @abstractmethod
    def __call__(
        self, images: Float[Array, "batch ..."], masks: Any = None
    ) -> Float[Array, "batch classes"]:
        """Returns logits; dropout is active if `masks` are given."""

    @abstractmethod
    def draw_masks(self, key: Key[Array, ""], batch: int) -> tuple[Bool[Array, "batch units"], ...]:
        """Draws one mask for each dropout in the network."""

    @abstractmethod
    def activations(
        self, images: Float[Array, "batch ..."]
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """Returns every layer's output in evaluation mode, by the original's names, in order."""

    @property
    @abstractmethod
    def layers(self) -> Mapping[str, nnx.Module]:
        """The layers that have parameters, by the names of `activations`, in order."""

    def is_frozen(self, path: tuple[Any, ...]) -> bool:
        """Whether the variable at this path of the state is never trained."""
        del path
        return False

    def describe(self) -> Sequence[Layer] | None:
        """Returns the layers with their weights in NumPy, for export to other runtimes.

        Batch normalisation is folded into the convolutions. None means that the network cannot be
        described.
        """
        return None

    def feature_map(
        self, images: Float[Array, "batch height width 3"]
    ) -> Float[Array, "batch rows columns features"]:
        """Returns the output of the last convolution, which heat maps need."""
        raise TypeError(f"{type(self).__name__} has no convolutions, so it has no feature map")

    def classify_map(
        self, maps: Float[Array, "batch rows columns features"]
    ) -> Float[Array, "batch classes"]:
        """Returns logits from the output of `feature_map`, in evaluation mode."""
        raise TypeError(f"{type(self).__name__} has no convolutions, so it has no feature map")

    def map_centres(self, places: int) -> tuple[float, float]:
        """Returns the pixel at the centre of a map's first position, and the step to the next one.

        Args:
            places: Number of positions along a side of the map.
        """
        raise TypeError(f"{type(self).__name__} has no convolutions, so it has no feature map")
