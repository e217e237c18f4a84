"""`chifoumi check`: report the problems of a folder of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from chifoumi_jax.commands.output import count, print_table
from chifoumi_jax.data.problems import describe


def check(
    directory: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")],
    groups: Path | None = None,
    train_list: Path | None = None,
    test_list: Path | None = None,
    seed: int = 0,
) -> int:
    """Scan a folder of photos as training would, and report all problems.

    The exit code is 0 if there is no problem, 1 if training would leave something out or warn, and
    2 if the folder cannot be trained on.

    Args:
        directory: Folder <class>/<photos> or {train,valid,test}/<class>/<photos>.
        groups: CSV file with the columns path,session; a session is not split.
        train_list: Text file of paths, one a line, that selects the training photos.
        test_list: Text file of paths, one a line, that selects the test photos.
        seed: Seed of the split.
    """
    from chifoumi_jax.data.folder.scanning import scan
    from chifoumi_jax.training.display import Display

    with Display().counting("Reading photos") as progress:
        scanned = scan(
            directory,
            groups=groups,
            train_list=train_list,
            test_list=test_list,
            seed=seed,
            progress=progress,
        )
    print_table(
        ["class", "train", "valid", "test"],
        [[name, *map(str, counts.values())] for name, counts in scanned.counts().items()],
    )
    for line in describe(scanned.problems):
        print(line)
    problems = sum(problem.effect != "note" for problem in scanned.problems)
    notes = len(scanned.problems) - problems
    print(count(problems, "problem") + (f", {count(notes, 'note')}" if notes else "") + ".")
    return int(problems > 0)
