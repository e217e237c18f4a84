"""The ablations of `transfer`: everything together, each part left out, the main parts alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from chifoumi_jax import recipes
from chifoumi_jax.recipes import Recipe


@dataclasses.dataclass(frozen=True)
class Ablation:
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
            for each in ABLATIONS
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

ABLATIONS: Sequence[Ablation] = (
    Ablation("all together", {}),
    Ablation("without ImageNet weights", _RANDOM),
    Ablation("without augmentation", {"augmentation": "none"}),
    Ablation("mild augmentation", {"augmentation": "photo"}),
    Ablation("without rendered hands", {"hands": 0}),
    Ablation("without moving average", {}, reading={"averaged": False}),
    Ablation("without label smoothing", {"label_smoothing": 0.0}),
    Ablation("without warm-up and decay", {"schedule": "constant", "warmup_steps": 0}),
    Ablation("without the head first", {"head_first": False}),
    Ablation("without the mirror image", {}, reading={"mirrored": False}),
    Ablation("without clipping", {"clip_norm": 0.0}),
    Ablation("without class weights", {"balance": False}),
    Ablation("fine-tuning alone", _PLAIN),
    Ablation("rendered hands alone", {}, trained_on="hands"),
    Ablation("the study's network", {"image_size": 150}, base=recipes.cnn),
)
