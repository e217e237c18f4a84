"""`chifoumi summary`: print a recipe's model layer by layer."""

from __future__ import annotations

from chifoumi_jax.commands.options import RecipeName, require_at_least
from chifoumi_jax.commands.output import print_table
from chifoumi_jax.recipes import RECIPES


def summary(recipe: RecipeName = "cnn", classes: int = 3, image_size: int | None = None) -> int:
    """Print a recipe's model layer by layer, with output shapes and numbers of parameters.

    Args:
        recipe: The recipe of the model.
        classes: Number of classes.
        image_size: Height and width of the network's input, in pixels.
    """
    from chifoumi_jax.training.summary import layers, total

    require_at_least(2, classes, "--classes")
    chosen = RECIPES[recipe]
    if image_size is not None:
        chosen = chosen.replace(image_size=image_size)
    table = layers(chosen, classes)
    print_table(
        ["layer (type)", "output shape", "parameters"],
        [
            [f"{layer.name} ({layer.kind})", str(layer.output_shape), f"{layer.params:,}"]
            for layer in table
        ],
    )
    print(f"Total parameters: {total(table):,}")
    return 0
