"""Shared by several commands: option types, and checks of option values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import tyro

from chifoumi_jax.errors import RecipeError
from chifoumi_jax.recipes import RECIPES

if TYPE_CHECKING:
    RecipeName = str
else:
    RecipeName = tyro.extras.literal_type_from_choices(list(RECIPES))

JsonOutput = Annotated[bool, tyro.conf.arg(name="json")]

_T = TypeVar("_T")
Run = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
FromRecipe = Annotated[_T | None, tyro.conf.arg(help_behavior_hint="(default: the recipe's)")]

# Exit code of a command that could not do what it was asked.
USAGE_ERROR = 2


def require_at_least(least: int, value: int, option: str) -> None:
    """Raise `RecipeError` if an option's value is below `least`."""
    if value < least:
        raise RecipeError(f"{option} must be at least {least}, not {value}")


def exact_epochs(epochs: int | None) -> dict[str, int]:
    """The recipe's changes for `--epochs`: exactly this number, even with few photos."""
    return {} if epochs is None else {"epochs": epochs, "min_steps": 0}
