"""`chifoumi reproduce`: train the study's systems, and compare with what it printed."""

from __future__ import annotations

from pathlib import Path

import tyro

from chifoumi_jax.commands.output import print_table
from chifoumi_jax.errors import RecipeError


def reproduce(
    name: tyro.conf.Positional[str] = "",
    *,
    data: Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    variant: str | None = None,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    quiet: bool = False,
) -> int:
    """Train a system of the study, and show the study's figures beside the run's.

    Without a name, list the systems. The last line printed is the run's folder.

    Args:
        name: The system.
        data: Folder with MNIST, for systems that are trained on digits.
        epochs: Number of epochs; the study's by default.
        seed: Seed of the initial weights, of the order and of the noise.
        variant: Architecture, for systems that have several.
        runs: Folder for the runs.
        resume: Continue this run.
        quiet: Print nothing but warnings and the run's folder.
    """
    from chifoumi_jax import systems
    from chifoumi_jax.systems import loop

    if resume is not None:
        if name:
            raise RecipeError("--resume needs no --name: the run knows its system")
        print(loop.resume(resume, epochs=epochs, quiet=quiet).directory)
        return 0
    if not name:
        rows = []
        for each in map(systems.get, systems.names()):
            printed = "; ".join(f"{f.name}: {f.printed}" for f in each.figures)
            rows.append([each.name, each.title, each.framework, f"{each.params:,}", printed])
        print_table(["system", "what it is", "original", "parameters", "the study's figures"], rows)
        return 0
    run = systems.get(name).fit(
        data=data, epochs=epochs, seed=seed, variant=variant, runs=runs, quiet=quiet
    )
    print_table(
        ["figure", "study", "this run"],
        [[one.study.name, one.study.printed, f"{one.ours:.4g}"] for one in run.figures],
    )
    print(run.directory)
    return 0
