"""`chifoumi reproduce`: train the study's systems, and compare with what it printed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from chifoumi_jax.commands.output import print_table
from chifoumi_jax.errors import RecipeError

if TYPE_CHECKING:
    from chifoumi_jax.systems.loop import SystemRun


def reproduce(
    name: tyro.conf.Positional[str] = "",
    *,
    data: Path | None = None,
    epochs: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    variant: str | None = None,
    original: bool = False,
    all: bool = False,
    quick: bool = False,
    runs: Path = Path("runs"),
    resume: Path | None = None,
    quiet: bool = False,
) -> int:
    """Train a system of the study, and show the study's figures beside the run's.

    Without a name, list the systems. The last line printed is the run's folder, or with --all the
    page of results.

    Args:
        name: The system.
        data: Folder with MNIST, for systems that are trained on digits; drawn digits by default.
            For cnn and mlp, a folder of photos; drawn hands by default.
        epochs: Number of epochs; the study's by default.
        limit: Train on this many examples; on all by default.
        seed: Seed of the initial weights, of the order and of the noise.
        variant: Architecture, for systems that have several.
        original: Train the Keras or PyTorch original too, on the same examples, in the same order
            and from the same initial weights.
        all: Train every system and every variant, and write a page of results.
        quick: Train shortly: fewer epochs and examples.
        runs: Folder for the runs.
        resume: Continue this run.
        quiet: Print nothing but warnings and the run's folder.
    """
    from chifoumi_jax import systems
    from chifoumi_jax.systems import loop

    if resume is not None:
        if name or all:
            raise RecipeError("--resume needs no name: the run knows its system")
        print(loop.resume(resume, epochs=epochs, quiet=quiet).directory)
        return 0
    options: dict[str, Any] = {"seed": seed, "runs": runs, "quiet": quiet}
    if all:
        if name or original or variant or epochs or limit:
            raise RecipeError("--all takes --data, --quick, --seed, --runs and --quiet only")
        print(_reproduce_all(options, data, quick))
        return 0
    if not name:
        _list(runs)
        return 0
    system = systems.get(name).of(variant)
    if quick:
        epochs, limit = epochs or system.quick[0], limit or system.quick[1]
    if original:
        from chifoumi_jax.systems.original import require_framework

        require_framework(system)
    run = system.fit(data=data, epochs=epochs, limit=limit, **options)
    print_table(
        ["figure", "study", "this run"],
        [[one.study.name, one.study.printed, f"{one.ours:.4g}"] for one in run.figures],
    )
    if original:
        _train_original(run, system.framework)
    print(run.directory)
    return 0


def _every() -> Iterator[Any]:
    """Every variant of every system."""
    from chifoumi_jax import systems

    for name in systems.names():
        system = systems.get(name)
        yield from map(system.of, system.variants)


def _list(runs: Path) -> None:
    from chifoumi_jax.systems.loop import newest_seconds
    from chifoumi_jax.training.display import duration

    rows = []
    for system in _every():
        seconds = newest_seconds(system.label, runs)
        here = "-" if seconds is None else duration(seconds)
        printed = "; ".join(f"{f.name}: {f.printed}" for f in system.figures)
        rows.append([system.label, system.title, system.framework, f"{system.params:,}", here])
        rows[-1].append(printed)
    header = ["system", "what it is", "original", "parameters", "time here", "the study's figures"]
    print_table(header, rows)
    print(f"The time is that of the newest whole training in {runs}. Train one: NAME, or --all.")


def _reproduce_all(options: dict[str, Any], data: Path | None, quick: bool) -> Path:
    from chifoumi_jax.files import first_free, write_atomically
    from chifoumi_jax.systems.page import render

    finished = []
    for system in _every():
        epochs, limit = system.quick if quick else (None, None)
        # A folder of digits is not one of photos; these two are trained on drawn hands.
        source = data if system.takes_digits else None
        finished.append((system, system.fit(data=source, epochs=epochs, limit=limit, **options)))
    print_table(
        ["system", "figure", "study", "here"],
        [
            [system.label, one.study.name, one.study.printed, f"{one.ours:.4g}"]
            for system, run in finished
            for one in run.figures
        ],
    )
    names = (Path(options["runs"]) / f"reproduced-{n}.html" for n in itertools.count(1))
    page = first_free(names, lambda path: path.touch(exist_ok=False))
    write_atomically(page, render(finished, quick=quick).encode())
    return page


def _train_original(run: SystemRun, framework: str) -> None:
    from chifoumi_jax.systems.original import train_original

    theirs = train_original(run)
    seconds = [sum(row["seconds"] for row in rows) for rows in (theirs, run.history)]
    last = [rows[-1]["loss"] for rows in (theirs, run.history)]
    print_table(
        ["", framework, "JAX", "JAX is faster by"],
        [
            ["loss of the last epoch", f"{last[0]:.6g}", f"{last[1]:.6g}", ""],
            [
                "seconds of training, JAX with compilation",
                f"{seconds[0]:.2f}",
                f"{seconds[1]:.2f}",
                f"{seconds[0] / seconds[1]:.1f} x",
            ],
        ],
    )
