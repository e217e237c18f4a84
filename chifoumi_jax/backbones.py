"""The networks that a training can begin from pretrained weights, by the name a recipe gives them.

Another one is one file: a `models.backbone.Backbone`, and an entry here.

    BACKBONES["my-network"] = Entry(build=MyNetwork, pretrained=my_weights)
    fit(recipes.transfer.replace(model="my-network", data="photos/"))
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from chifoumi_jax.convert.pretrained import pretrained_efficientnet_lite0, require_pretrained
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.models import EfficientNetLite0
from chifoumi_jax.models.backbone import Backbone
from chifoumi_jax.recipes import Recipe

# How many of its seven stages each variant has.
STAGES_OF = {"efficientnet-lite0": 7, "efficientnet-lite0-small": 5}


class Entry(NamedTuple):
    """How to come by a network.

    Attributes:
        build: `build(image_size, num_classes, dropout_rate=, frozen_stages=, rngs=)` gives it with
            weights drawn at random.
        pretrained: `pretrained(image_size)` gives what it can `take_over`.
        require: Raises `PretrainedError` if there is nothing to take over, before anything takes
            time.
    """

    build: Callable[..., Backbone]
    pretrained: Callable[[int], Backbone]
    require: Callable[[], None] = lambda: None


def _efficientnet_lite0(name: str, *sizes: int, **others: Any) -> EfficientNetLite0:
    return EfficientNetLite0(*sizes, stages=STAGES_OF[name], **others)


BACKBONES: dict[str, Entry] = {
    name: Entry(
        partial(_efficientnet_lite0, name), pretrained_efficientnet_lite0, require_pretrained
    )
    for name in STAGES_OF
}


def backbone(recipe: Recipe) -> Entry:
    """What the recipe's model is registered as.

    Raises:
        RecipeError: If there is none of that name.
    """
    if recipe.model not in BACKBONES:
        raise RecipeError(
            f"there is no network {recipe.model}: import what puts it into "
            "chifoumi_jax.backbones.BACKBONES"
        )
    return BACKBONES[recipe.model]
