"""`python -m parity`: climb the ladder for the study's ports, plant faults, report."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console


def main(
    only: str | None = None,
    report: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("parity-report"),
    photos: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    faults: bool = True,
) -> int:
    """Compare the study's ports with their originals.

    Exit code 0 if every rung holds and every planted fault is found, 1 if not.

    Args:
        only: Compare one port (cnn, mlp, study-mlp-v21) or climb one rung (forward, or 5).
        report: Write report.json and report.html into this folder.
        photos: Compare the loaders on photos of this folder too; CHIFOUMI_PHOTOS by default.
        faults: Plant faults and see that they are found.
    """
    # TensorFlow says on standard error what it found in the machine.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Keras, that .h5 is an old format: it is read because it is.
    logging.getLogger("absl").setLevel(logging.ERROR)
    if photos is not None:
        if not photos.is_dir():
            print(f"error: there is no folder {photos}", file=sys.stderr)
            return 2
        os.environ["CHIFOUMI_PHOTOS"] = str(photos)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    try:
        from parity import report as reports
        from parity.check import RUNGS, Verdict, judge
        from parity.faults.planted import find, planted
        from parity.original import OriginalError
        from parity.precision import environment
        from parity.systems.registry import CASES, is_called

        numbers = {name: number for number, name in RUNGS.items()}
        numbers |= {str(number): number for number in RUNGS}
        rung = numbers.get(only or "")
        # Before TensorFlow and PyTorch are imported, which takes seconds.
        if not (only is None or rung or any(is_called(name, only) for name in CASES)):
            known = ", ".join([*CASES, *RUNGS.values()])
            print(
                f"error: no port and no rung is called {only}; there are {known}", file=sys.stderr
            )
            return 2
        report.mkdir(parents=True, exist_ok=True)
        with _libraries_silent():
            from parity.rungs.ladder import checks, originals

            every = originals(None if rung else only)
    except ModuleNotFoundError as error:
        remedy = "pip install 'chifoumi-jax[parity]' brings Keras, TensorFlow and PyTorch"
        print(f"error: {error.name} is not installed; {remedy}", file=sys.stderr)
        return 2
    except OriginalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: {report} cannot be made ({error.strerror}): name another folder with --report",
            file=sys.stderr,
        )
        return 2
    found = environment()
    console.print(", ".join(f"{name} {value}" for name, value in found.items()))
    ladder = checks(every)
    climbed = [check for check in ladder if rung in (None, check.rung)]
    verdicts: list[Verdict] = []
    with console.status("") as status:
        for check in climbed:
            status.update(f"{len(verdicts) + 1} of {len(climbed)}: {check.title}")
            verdicts.append(judge(check, CASES[check.candidate].port))
        ports = {original.case.name for original in every}
        chosen = [f for f in planted() if f.port.name in ports and rung in (None, f.rung)]
        caught = []
        for fault in chosen if faults else ():
            status.update(f"planted: {fault.name}")
            caught.append(find(fault, ladder))
    reports.print_table(console, verdicts)
    if faults:
        reports.print_faults(console, caught)
    reports.write(report, found, verdicts, caught)
    console.print(f"The report is in {report / 'report.html'}.")
    good = reports.passed(verdicts, caught)
    whole = "All rungs hold" if good else "NOT all rungs hold"
    console.print(f"{whole}, of those that --only asks for." if only else f"{whole}.")
    return 0 if good else 1


@contextlib.contextmanager
def _libraries_silent() -> Iterator[None]:
    # TensorFlow writes what it found in the machine to the descriptor itself, before it reads how
    # much it is to say. Exceptions are Python's and unaffected.
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m parity"))
