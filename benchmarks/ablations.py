"""The ablations of the recipe `transfer`: all parts, each part left out, only the main parts."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from chifoumi_jax import recipes
from chifoumi_jax.recipes import Recipe


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A row of the table.

    Attributes:
        name: Name of the row.
        changes: Recipe fields that it changes.
        trained_on: `photos`, or `hands` for rendered hands only.
        base: The recipe that it changes.
        load_options: Arguments of `chifoumi_jax.load`, which change the answers of a trained
            network.
    """

    name: str
    changes: Mapping[str, Any]
    trained_on: str = "photos"
    base: Recipe = recipes.transfer
    load_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def slug(self) -> str:
        """Its name in the names of files and folders."""
        return self.name.replace(" ", "-").replace(",", "")

    def recipe(self) -> Recipe:
        """The recipe that is trained."""
        return self.base.replace(**self.changes)

    @property
    def folder(self) -> str:
        """Its trainings' folder; rows that differ only in `load_options` share the first row's."""
        return next(
            each.slug
            for each in ABLATIONS
            if (each.trained_on, each.recipe()) == (self.trained_on, self.recipe())
        )


# Stages with random weights are not frozen, because they have learnt nothing.
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
    Ablation("without moving average", {}, load_options={"averaged": False}),
    Ablation("without label smoothing", {"label_smoothing": 0.0}),
    Ablation("without warm-up and decay", {"schedule": "constant", "warmup_steps": 0}),
    Ablation("without the head first", {"head_first": False}),
    Ablation("without the mirror image", {}, load_options={"mirrored": False}),
    Ablation("without clipping", {"clip_norm": 0.0}),
    Ablation("without class weights", {"balance": False}),
    Ablation("fine-tuning alone", _PLAIN),
    Ablation("rendered hands alone", {}, trained_on="hands"),
    Ablation("the study's network", {"image_size": 150}, base=recipes.cnn),
)
