"""`chifoumi hands`: render a folder of hands."""

from __future__ import annotations

from pathlib import Path

from chifoumi_jax.commands.options import require_at_least
from chifoumi_jax.errors import RecipeError


def hands(
    out: Path,
    images: int = 346,
    test_images: int | None = None,
    wild: bool = False,
    nothing: bool = False,
    seed: int = 0,
) -> int:
    """Draw a folder of hands that `train --data` reads.

    Args:
        out: The folder; it must be empty or not exist yet.
        images: Number of images in all.
        test_images: How many of them are test images, with other people, light and backgrounds; by
            default 52 of 346, as in the study.
        wild: Draw small images as varied as photos: any viewpoint, background and light.
        nothing: Also draw a fourth class of images without a hand.
        seed: Seed of all images.
    """
    from chifoumi_jax.hands import GESTURES, NOTHING, VARIETY, WILD, write_hands
    from chifoumi_jax.training.display import Display

    require_at_least(8 if nothing else 6, images, "--images")
    with Display().counting("Drawing hands") as progress:
        try:
            write_hands(
                out,
                images=images,
                test_images=test_images,
                seed=seed,
                variety=WILD if wild else VARIETY,
                gestures=(*GESTURES, NOTHING) if nothing else GESTURES,
                progress=progress,
            )
        except ValueError as error:
            raise RecipeError(str(error)) from error
    print(out)
    return 0
