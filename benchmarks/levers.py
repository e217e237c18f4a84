"""What is varied in the table of levers: all together, each left out, and the main ones alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from chifoumi_jax import recipes
from chifoumi_jax.recipes import Recipe


@dataclasses.dataclass(frozen=True)
class Lever:
    """A row of the table.

    Attributes:
        name: For the table.
        changes: What it changes of the recipe.
        trained_on: `photos`, or `hands` for rendered ones alone.
        base: The recipe.
        reading: What is asked of a trained network otherwise: arguments of `chifoumi_jax.load`.
    """

    name: str
    changes: Mapping[str, Any]
    trained_on: str = "photos"
    base: Recipe = recipes.transfer
    reading: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def slug(self) -> str:
        """Names its pictures."""
        return self.name.replace(" ", "-").replace(",", "")

    def recipe(self) -> Recipe:
        """What is trained."""
        return self.base.replace(**self.changes)

    @property
    def folder(self) -> str:
        """Names its trainings: the first row's of those that differ in `reading` alone."""
        return next(
            each.slug
            for each in LEVERS
            if (each.trained_on, each.recipe()) == (self.trained_on, self.recipe())
        )


# Stages that nothing was learnt in are not frozen.
_RANDOM: Mapping[str, Any] = {"pretrained": False, "head_first": False, "frozen_stages": 0}
_PLAIN: Mapping[str, Any] = {
    "head_first": False,
    "augmentation": "none",
    "average": 0.0,
    "label_smoothing": 0.0,
    "clip_norm": 0.0,
    "mirror_test": False,
    "balance": False,
    "hands": 0,
}

LEVERS: Sequence[Lever] = (
    Lever("all together", {}),
    Lever("without ImageNet weights", _RANDOM),
    Lever("without augmentation", {"augmentation": "none"}),
    Lever("mild augmentation", {"augmentation": "photo"}),
    Lever("without rendered hands", {"hands": 0}),
    Lever("without moving average", {}, reading={"averaged": False}),
    Lever("without label smoothing", {"label_smoothing": 0.0}),
    Lever("without warm-up and decay", {"schedule": "constant", "warmup_steps": 0}),
    Lever("without the head first", {"head_first": False}),
    Lever("without the mirror image", {}, reading={"mirrored": False}),
    Lever("without clipping", {"clip_norm": 0.0}),
    Lever("without class weights", {"balance": False}),
    Lever("fine-tuning alone", _PLAIN),
    Lever("rendered hands alone", {}, trained_on="hands"),
    Lever("the study's network", {"image_size": 150}, base=recipes.cnn),
)
