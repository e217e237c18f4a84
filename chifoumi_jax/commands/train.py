"""`chifoumi train`: start or resume a training. Its options are the recipe's fields."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import tyro

from chifoumi_jax.commands.options import RecipeName, exact_epochs, require_at_least
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.recipes import RECIPES, SETTINGS, TYPES

_FROM_RECIPE = "(default: the recipe's)"


def _option(name: str) -> tuple[str, Any, Any]:
    """A field of `Recipe` as an option: its name, its type and its default."""
    hint, help_text = TYPES[name], SETTINGS[name].help
    if hint is bool:
        return name, Annotated[bool, tyro.conf.arg(help=help_text)], False
    choices = [choice for choice in get_args(hint) if isinstance(choice, str)]
    (bare,) = {*(get_args(hint) or (hint,))} - {type(None)} if not choices else (hint,)
    metavar = f"{{{','.join(choices)}}}" if choices else bare.__name__.upper()
    argument = tyro.conf.arg(help=help_text, metavar=metavar, help_behavior_hint=_FROM_RECIPE)
    return name, Annotated[bare | None, argument], None


if TYPE_CHECKING:
    Settings = Any
else:
    Settings = dataclasses.make_dataclass(
        "Settings",
        [_option(name) for name, setting in SETTINGS.items() if setting.option],
        frozen=True,
    )


def train(
    recipe: Annotated[RecipeName | None, tyro.conf.arg(help_behavior_hint="(default: cnn)")] = None,
    training: Annotated[Settings, tyro.conf.OmitArgPrefixes] = Settings(),  # noqa: B008 - frozen
    directed: bool = False,
    resume: Path | None = None,
    quiet: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> int:
    """Train a classifier on a folder of photos, or on rendered hands.

    Options that are not given come from the recipe. The last line printed is the run's folder.

    Args:
        recipe: The recipe to train by.
        training: Changes of the recipe.
        directed: The classes differ in direction, such as thumb up and thumb down: no photo is
            mirrored or rotated far.
        resume: Continue this run instead of starting one; takes no other option but --epochs.
        quiet: Print nothing but warnings and the run's folder.
        coordinator: HOST:PORT of the first of several processes that train together. Each is
            started with the same options except --process, and sees the same files.
        processes: Number of processes that train together.
        process: Number of this process, from 0.
    """
    from chifoumi_jax.training import fit

    _join(coordinator, processes, process)
    given = {
        name: value
        for name, value in vars(training).items()
        if value is not None and value is not False
    }
    epochs = given.pop("epochs", None)
    if resume is not None:
        if given or recipe is not None or directed:
            names = [*["recipe"] * (recipe is not None), *["directed"] * directed, *given]
            options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
            raise RecipeError(f"--resume can only be combined with --epochs: leave out {options}")
        run = fit.resume(resume, epochs=epochs, quiet=quiet)
    else:
        chosen = RECIPES[recipe or "cnn"]
        chosen = chosen.directed() if directed else chosen
        run = fit.fit(chosen.replace(**given, **exact_epochs(epochs)), quiet=quiet)
    if not process:
        print(run.directory)
    return 0


def _join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    if (coordinator, processes, process) == (None, None, None):
        return
    if coordinator is None or processes is None or process is None:
        raise RecipeError("give --coordinator, --processes and --process together")
    require_at_least(1, processes, "--processes")
    if not re.fullmatch(r".+:\d+", coordinator):
        raise RecipeError(f"--coordinator must be HOST:PORT, not {coordinator}")
    if not 0 <= process < processes:
        raise RecipeError(f"--process must be from 0 to {processes - 1}, not {process}")
    import jax

    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        raise RecipeError(f"the processes could not connect: {error}") from error
