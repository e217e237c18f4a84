"""Speed and accuracy, compared with Keras, PyTorch and plain JAX: `python -m benchmarks`.

Each baseline runs in its own processes. The baselines take turns for several rounds.
`--baselines-python` names another interpreter that has TensorFlow, Keras and PyTorch, if this one
does not have them. A baseline that is not installed is left out, and the table says so. With
`--only accuracy` the command trains every ablation of the recipe `transfer` instead, and tests it
on photos of sessions and sources that it has never seen.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from benchmarks.ablations import ABLATIONS
from benchmarks.cases import ALIASES, CASES, DEFAULT, Settings
from benchmarks.measure import BaselineError, Case, machine
from benchmarks.report import plot, table
from chifoumi_jax.compilation_cache import enable_compilation_cache
from chifoumi_jax.data.dataset import hands_folder, hands_path
from chifoumi_jax.errors import UserError
from chifoumi_jax.files import write_atomically, write_json
from chifoumi_jax.systems import small_names

CaseName = Literal[
    "step",
    "finetune",
    "feeding",
    "predict",
    "train",
    "mlp",
    "decode",
    "start",
    "scaling",
    "precision",
    "systems",
    "accuracy",
    # The earlier name of scaling.
    "growth",
]

if TYPE_CHECKING:
    AblationName = str
else:
    AblationName = tyro.extras.literal_type_from_choices([ablation.name for ablation in ABLATIONS])

SCALING = {
    "images": (100, 1_000, 10_000, 100_000),
    "pixels": (64, 150, 300, 600, 1_200),
    "classes": (2, 10, 100, 1_000, 10_000),
    "devices": (1, 2, 4),
}
TINY_SCALING = {"images": (10,), "devices": (2,)}


@dataclasses.dataclass(frozen=True)
class Options:
    """Command line options.

    Attributes:
        report: Folder for `report.json`, `table.md` and the plots.
        only: Cases to measure; by default everything except precision, which is for a GPU,
            systems, which takes an hour, and accuracy, which takes hours and cannot be combined
            with others.
        baselines_python: Interpreter that has TensorFlow, Keras and PyTorch; this one by default.
        data: Folder of photos for the whole trainings; rendered hands by default. For accuracy
            it must have train and test, and may have valid.
        also: Further folders of photos, or folders with test, to evaluate accuracy on.
        groups: CSV file with the sessions of `data`.
        seeds: Number of trainings for each row of accuracy.
        jobs: Number of simultaneous trainings of accuracy, for a GPU or many cores; each training
            then takes more minutes.
        rows: Names of the rows of accuracy; all by default.
        rounds: Number of turns of each baseline.
        budget: Seconds of repetitions in a turn.
        epochs: Number of epochs of the whole trainings.
        tiny: Measure almost nothing, for a quick check that everything runs.
    """

    report: Path = Path("report/speed")
    only: tuple[CaseName, ...] = ()
    # The alias is the option's earlier name.
    baselines_python: Annotated[str, tyro.conf.arg(aliases=["--peers-python"])] = sys.executable
    data: Path | None = None
    also: tuple[Path, ...] = ()
    groups: Path | None = None
    seeds: int = 5
    jobs: int = 1
    rows: tuple[AblationName, ...] = ()
    rounds: int = 3
    budget: float = 5
    epochs: int = 10
    tiny: bool = False


def settings(options: Options, console: Console) -> Settings:
    """The sizes and repetitions that the options imply."""
    scaling: Mapping[str, Sequence[int]] = TINY_SCALING if options.tiny else SCALING
    return Settings(
        baselines_python=options.baselines_python,
        rounds=1 if options.tiny else options.rounds,
        budget=0 if options.tiny else options.budget,
        min_repetitions=1 if options.tiny else 3,
        batch_size=4 if options.tiny else 25,
        image_size=24 if options.tiny else 600,
        finetune=(4, 32) if options.tiny else (32, 128),
        depthwise=(2, 6, 8) if options.tiny else (32, 32, 144),
        predict_sizes=(1,) if options.tiny else (1, 32),
        train_sizes=(24,) if options.tiny else (150, 300, 600),
        epochs=1 if options.tiny else options.epochs,
        mlp_epochs=2 if options.tiny else 100,
        precisions=("bfloat16",) if options.tiny else ("float32", "tf32", "bfloat16"),
        photos=4 if options.tiny else 300,
        photo_size=(64, 48) if options.tiny else (4160, 3120),
        scaling=scaling,
        systems=("sine-recurrent",) if options.tiny else small_names(),
        tiny=options.tiny,
        data=options.data or hands_folder(),
        log=lambda line: console.print(line, markup=False),
    )


def measure_accuracy(options: Options, console: Console) -> None:
    """Train every ablation, and print the table."""
    from benchmarks.accuracy import Plan, matrix, measure, table

    if options.data is None:
        raise BaselineError("accuracy needs photos: give a folder with train and test as --data")
    if options.seeds < 1:
        raise BaselineError(f"--seeds must be at least 1, not {options.seeds}")
    if options.jobs < 1:
        raise BaselineError(f"--jobs must be at least 1, not {options.jobs}")
    tiny = {"epochs": 1, "min_steps": 0, "hands": 0, "image_size": 32}
    changes = tiny if options.tiny else {}
    enable_compilation_cache()
    plan = Plan(
        report=options.report,
        photos=options.data,
        hands=hands_folder(),
        others=options.also,
        groups=options.groups,
        seeds=options.seeds,
        jobs=options.jobs,
        rows=options.rows,
        changes=changes,
    )
    found = measure(plan, log=lambda line: console.print(line, markup=False))
    print(table(found) + matrix(found))


def write(report: Path, cases: Sequence[Case]) -> None:
    """Write all cases measured so far, and plot the last one."""
    host = machine()
    found = {"machine": host, "cases": [case.as_json() for case in cases]}
    write_json(report / "report.json", found)
    write_atomically(report / "table.md", table(cases, host))
    plot(cases[-1], report / f"{len(cases):02}.png")


def main() -> None:
    """Measure, and write the report case by case."""
    options = tyro.cli(Options, description=__doc__)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if "accuracy" in options.only:
        try:
            if len(options.only) > 1:
                raise BaselineError(
                    "--only accuracy cannot be combined with other values: give it alone"
                )
            options.report.mkdir(parents=True, exist_ok=True)
            measure_accuracy(options, console)
        except KeyboardInterrupt as stopped:
            console.print(f"{str(stopped) or 'stopped'}; the same command resumes.", markup=False)
            sys.exit(130)
        except (UserError, OSError) as error:
            console.print(f"error: {error}", markup=False)
            sys.exit(1)
        return
    cases = []
    try:
        # First, so that a folder that cannot be written stops the command before it measures.
        options.report.mkdir(parents=True, exist_ok=True)
        if options.data is None and not hands_path().is_dir():
            console.print("Drawing the rendered hands once; this takes about a minute.")
        sizes = settings(options, console)
        for name in options.only or DEFAULT:
            for case in CASES[ALIASES.get(name, name)](sizes):
                cases.append(case)
                # After each case, because the measurements take hours and may be stopped.
                write(options.report, cases)
    except (UserError, OSError) as error:
        console.print(f"error: {error}", markup=False)
        sys.exit(1)
    print((options.report / "table.md").read_text())


if __name__ == "__main__":
    main()
