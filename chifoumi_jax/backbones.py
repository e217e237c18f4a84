"""The networks with pretrained weights that a training can begin from, by their names in recipes.

To add a network, write one file with a `models.backbone.Backbone` and register its entry here:

    BACKBONES["my-network"] = Entry(build=MyNetwork, pretrained=my_weights)
    fit(recipes.transfer.replace(model="my-network", data="photos/"))
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chifoumi_jax.architectures import ARCHITECTURES, Architecture, Arrays
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.models.backbone import Backbone
from chifoumi_jax.models.efficientnet_lite import STAGES, EfficientNetLite0

Entry = Architecture


def efficientnet_lite0(stages: int = len(STAGES)) -> Entry:
    """EfficientNet-Lite0 with its first `stages` stages, of seven."""

    def build(*sizes: int, **settings: Any) -> EfficientNetLite0:
        return EfficientNetLite0(*sizes, stages=stages, **settings)

    def pretrained(image_size: int) -> EfficientNetLite0:
        from chifoumi_jax.convert.pretrained import pretrained_efficientnet_lite0

        return pretrained_efficientnet_lite0(image_size)

    def require() -> None:
        from chifoumi_jax.convert.pretrained import require_pretrained

        require_pretrained()

    def to_arrays(network: EfficientNetLite0) -> dict[str, np.ndarray]:
        from chifoumi_jax.convert.efficientnet_lite import efficientnet_lite0_to_arrays

        return efficientnet_lite0_to_arrays(network)

    def from_arrays(arrays: Arrays, image_size: int) -> EfficientNetLite0:
        from chifoumi_jax.convert.efficientnet_lite import efficientnet_lite0_from_torch

        return efficientnet_lite0_from_torch(arrays, image_size=image_size, stages=stages)

    return Entry(build, pretrained, require, to_arrays, from_arrays)


BACKBONES: dict[str, Entry] = {
    "efficientnet-lite0": efficientnet_lite0(),
    "efficientnet-lite0-small": efficientnet_lite0(stages=5),
}


def find_architecture(name: str) -> Architecture | None:
    """The entry of the network with this name; None if none is registered yet."""
    return ARCHITECTURES.get(name) or BACKBONES.get(name)


def architecture(name: str) -> Architecture:
    """The entry of the network with this name.

    Raises:
        RecipeError: If no network with this name is registered.
    """
    found = find_architecture(name)
    if found is None:
        raise RecipeError(
            f"there is no network {name}: import the file that registers it in "
            "chifoumi_jax.backbones.BACKBONES"
        )
    return found


def pretrained_backbone(name: str, image_size: int) -> Backbone:
    """The network with this name and its pretrained weights.

    Raises:
        PretrainedError: If the weights are not installed.
        RecipeError: If no pretrained weights exist for it.
    """
    pretrained = architecture(name).pretrained
    if pretrained is None:
        raise RecipeError(f"there are no pretrained weights for {name}: take the recipe transfer")
    return pretrained(image_size)
