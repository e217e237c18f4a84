"""What every network offers to the training, the command line, the export and the heat maps."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from chifoumi_jax.models.description import Layer


class Network(nnx.Module):
    """A classifier of images whose dropout masks are an input.

    A network that convolves also offers `feature_map`, `classify_map` and `map_centres`, from which
    heat maps are made. One that is exported to other runtimes offers `describe`.

    Attributes:
        image_size: Height and width of its images, in pixels.
        num_classes: Number of classes.
        dropout_rate: Share of the units that dropout sets to zero.
    """

    image_size: int
    num_classes: int
    dropout_rate: float

    layer_kinds: ClassVar[Mapping[str, str]]
    """How a summary calls the kind of a layer, by the layer's name without its number."""

    @abstractmethod
    def __call__(
        self, images: Float[Array, "batch ..."], masks: Any = None
    ) -> Float[Array, "batch classes"]:
        """Returns logits; dropout is active if `masks` are given."""

    @abstractmethod
    def draw_masks(self, key: Key[Array, ""], batch: int) -> tuple[Bool[Array, "batch units"], ...]:
        """One dropout mask for each place that has one."""

    @abstractmethod
    def activations(
        self, images: Float[Array, "batch ..."]
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """Every layer's output in evaluation mode, by the original's layer names, in order."""

    @property
    @abstractmethod
    def layers(self) -> Mapping[str, nnx.Module]:
        """The layers that have parameters, by the names of `activations`, in order."""

    def is_frozen(self, path: tuple[Any, ...]) -> bool:
        """Whether what stands at this path of the state is never trained."""
        del path
        return False

    def describe(self) -> Sequence[Layer] | None:
        """The layers with their weights in NumPy, for other runtimes; None if there are no words.

        Batch normalisation is folded into the convolutions.
        """
        return None

    def feature_map(
        self, images: Float[Array, "batch height width 3"]
    ) -> Float[Array, "batch rows columns features"]:
        """The output of the last convolution, from which a heat map is made."""
        raise TypeError(f"{type(self).__name__} does not convolve")

    def classify_map(
        self, maps: Float[Array, "batch rows columns features"]
    ) -> Float[Array, "batch classes"]:
        """Logits from `feature_map`, in evaluation mode."""
        raise TypeError(f"{type(self).__name__} does not convolve")

    def map_centres(self, places: int) -> tuple[float, float]:
        """The pixel at the centre of a feature map's first place, and the distance to the next.

        Args:
            places: Number of places along a side of the map.
        """
        raise TypeError(f"{type(self).__name__} does not convolve")
