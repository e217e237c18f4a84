"""`python -m parity`: run the ladder of checks on the study's ports, plant faults, report."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from chifoumi_jax.quiet import stderr_silenced


def main(
    only: str | None = None,
    report: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("parity-report"),
    photos: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    faults: bool = True,
) -> int:
    """Compare the study's ports with their originals.

    The exit code is 0 if every rung holds and every planted fault is found, 1 if not.

    Args:
        only: Check only this port (cnn, mlp, study-mlp-v21) or this rung (forward, or 5).
        report: Folder for report.json and report.html.
        photos: Also compare the image loaders on the photos in this folder; CHIFOUMI_PHOTOS by
            default.
        faults: Plant faults and check that each is found.
    """
    # TensorFlow logs the hardware that it found to standard error.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Keras warns that .h5 is an old format; rung 4 reads .h5 files on purpose.
    logging.getLogger("absl").setLevel(logging.ERROR)
    if photos is not None:
        if not photos.is_dir():
            print(f"error: --photos: there is no folder {photos}", file=sys.stderr)
            return 2
        os.environ["CHIFOUMI_PHOTOS"] = str(photos)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    try:
        from parity import report as reports
        from parity.check import RUNGS, Verdict, run_check
        from parity.faults.planted import detect, planted_faults
        from parity.original import OriginalError
        from parity.precision import environment
        from parity.systems.registry import PORTS, matches_name

        numbers = {name: number for number, name in RUNGS.items()}
        numbers |= {str(number): number for number in RUNGS}
        rung = numbers.get(only or "")
        # Checked before TensorFlow and PyTorch are imported, because that takes seconds.
        if not (only is None or rung or any(matches_name(name, only) for name in PORTS)):
            known = ", ".join([*PORTS, *RUNGS.values()])
            print(
                f"error: no port and no rung is called {only}: set --only to one of {known}",
                file=sys.stderr,
            )
            return 2
        report.mkdir(parents=True, exist_ok=True)
        with stderr_silenced():
            from parity.rungs.ladder import checks, originals

            every = originals(None if rung else only)
    except ModuleNotFoundError as error:
        remedy = "run `pip install 'chifoumi-jax[parity]'` for Keras, TensorFlow and PyTorch"
        print(f"error: {error.name} is not installed: {remedy}", file=sys.stderr)
        return 2
    except OriginalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: {report} cannot be created ({error.strerror}): "
            "choose another folder with --report",
            file=sys.stderr,
        )
        return 2
    found = environment()
    console.print(", ".join(f"{name} {value}" for name, value in found.items()))
    ladder = checks(every)
    selected = [check for check in ladder if rung in (None, check.rung)]
    verdicts: list[Verdict] = []
    with console.status("") as status:
        for check in selected:
            status.update(f"{len(verdicts) + 1} of {len(selected)}: {check.title}")
            verdicts.append(run_check(check, PORTS[check.candidate]))
        ports = {original.case.name for original in every}
        chosen = [f for f in planted_faults() if f.candidate in ports and rung in (None, f.rung)]
        detections = []
        for fault in chosen if faults else ():
            status.update(f"planted fault: {fault.name}")
            detections.append(detect(fault, ladder))
    reports.print_table(console, verdicts)
    if faults:
        reports.print_faults(console, detections)
    reports.write(report, found, verdicts, detections)
    console.print(f"The report is in {report / 'report.html'}.")
    good = reports.passed(verdicts, detections)
    conclusion = "All rungs hold" if good else "NOT all rungs hold"
    console.print(f"{conclusion} (only those that --only selects)." if only else f"{conclusion}.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m parity"))
