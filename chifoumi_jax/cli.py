"""The command line: `chifoumi train | check | evaluate | predict | export | play | …`."""

from __future__ import annotations

import atexit
import gc
import io
import json
import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NoReturn,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chifoumi_jax.compilation_cache import keep_compiled
from chifoumi_jax.data.problems import describe
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.export.formats import Format
from chifoumi_jax.recipes import RECIPES, Precision
from chifoumi_jax.text import printable

if TYPE_CHECKING:
    from chifoumi_jax.prediction.predict_files import Answer
    from chifoumi_jax.reports import Report

    RecipeName = str
else:
    RecipeName = tyro.extras.literal_type_from_choices(list(RECIPES))

JsonOutput = Annotated[bool, tyro.conf.arg(name="json")]

_T = TypeVar("_T")
Run = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
FromRecipe = Annotated[_T | None, tyro.conf.arg(help_behavior_hint="(default: the recipe's)")]

# What a command could not do for its user's reasons: a sentence, no traceback.
_USAGE_ERROR = 2
_INTERRUPTED = 130
# What a shell gives for a process that SIGPIPE ended.
_BROKEN_PIPE = 141

app = tyro.extras.SubcommandApp()


def _command(function: Callable[..., int]) -> Callable[..., int]:
    """Add a command, its arguments' help in one line each: the terminal's width breaks it."""
    function.__doc__ = re.sub(r"\n {12,}", " ", function.__doc__ or "")
    hints = get_type_hints(function, include_extras=True)
    function.__annotations__ = {name: _named_as_given(hint) for name, hint in hints.items()}
    return app.command(function)


def _named_as_given(hint: Any) -> Any:
    """Let help name what may be given, not that it may be left out: PATH instead of {None}|PATH."""
    bare, *others = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    kinds = get_args(bare)
    if type(None) not in kinds:
        return hint
    (kind,) = set(kinds) - {type(None)}
    choices = get_args(kind)
    name = f"{{{','.join(choices)}}}" if choices else kind.__name__.upper()
    return Annotated[bare, tyro.conf.arg(metavar=name), *others]


@_command
def train(
    recipe: Annotated[RecipeName | None, tyro.conf.arg(help_behavior_hint="(default: cnn)")] = None,
    data: FromRecipe[Path] = None,
    groups: FromRecipe[Path] = None,
    train_list: FromRecipe[Path] = None,
    test_list: FromRecipe[Path] = None,
    hands: FromRecipe[int] = None,
    directed: bool = False,
    valid_share: FromRecipe[float] = None,
    patience: FromRecipe[int] = None,
    epochs: FromRecipe[int] = None,
    batch_size: FromRecipe[int] = None,
    image_size: FromRecipe[int] = None,
    learning_rate: FromRecipe[float] = None,
    seed: FromRecipe[int] = None,
    precision: FromRecipe[Precision] = None,
    strict: bool = False,
    runs: FromRecipe[Path] = None,
    resume: Path | None = None,
    quiet: bool = False,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> int:
    """Train a classifier on a folder of photos, or on rendered hands.

    What is not given comes from the recipe. The last line printed is the run's folder.

    Args:
        recipe: What to train and how.
        data: Folder <class>/<photos> or {train,valid,test}/<class>/<photos>; the recipes take
            rendered hands.
        groups: CSV file with the columns path,session; a session is not split.
        train_list: Text file of paths, one a line, that selects the training photos.
        test_list: Likewise the test photos.
        hands: How many rendered hands to train on besides, where the classes are paper, rock and
            scissors.
        directed: Classes differ in direction, as a thumb up and a thumb down: mirror no photo, and
            turn none far.
        valid_share: Of the training photos, to validate on where no folder says what to; by whole
            sessions with --groups.
        patience: Stop after that many epochs without a better one on the validation photos, and
            keep the best; 0 for never.
        epochs: How often every photo is shown.
        batch_size: Photos in a step; 0 is all of them.
        image_size: Height and width of the network's input.
        learning_rate: The rate, or its peak.
        seed: Of the split, the weights, the order, dropout and augmentation.
        precision: float32; tf32, which is faster on a GPU; or bfloat16, which is faster still there
            and slow on a CPU.
        strict: Refuse a folder with a bad file instead of leaving the file out.
        runs: Folder for the run's folder; the recipes take runs.
        resume: Go on with this run instead of starting one; of the others, --epochs alone fits.
        quiet: Print nothing but warnings and the run's folder.
        coordinator: HOST:PORT of the first of several processes that train together; each is
            started with the same options but for --process, and sees the same files.
        processes: How many there are.
        process: Which one this is, from 0.
    """
    from chifoumi_jax.training import fit as training

    _join(coordinator, processes, process)

    fields = {
        "data": data,
        "groups": groups,
        "train_list": train_list,
        "test_list": test_list,
        "hands": hands,
        "valid_share": valid_share,
        "patience": patience,
        "batch_size": batch_size,
        "image_size": image_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "precision": precision,
        "strict": strict or None,
        "runs": runs,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    if resume is not None:
        if given or recipe is not None or directed:
            names = [*["recipe"] * (recipe is not None), *["directed"] * directed, *given]
            options = ", ".join(f"--{name.replace('_', '-')}" for name in names)
            raise RecipeError(f"--resume takes all but --epochs from its run: leave out {options}")
        run = training.resume(resume, epochs=epochs, quiet=quiet)
    else:
        given |= _as_many(epochs)
        chosen = RECIPES[recipe or "cnn"]
        chosen = chosen.directed() if directed else chosen
        run = training.fit(chosen.replace(**given), quiet=quiet)
    if not process:
        print(run.directory)
    return 0


def _join(coordinator: str | None, processes: int | None, process: int | None) -> None:
    if (coordinator, processes, process) == (None, None, None):
        return
    if coordinator is None or processes is None or process is None:
        raise RecipeError("give --coordinator, --processes and --process together")
    _require_at_least(1, processes, "--processes")
    if not re.fullmatch(r".+:\d+", coordinator):
        raise RecipeError(f"--coordinator must be HOST:PORT, not {coordinator}")
    if not 0 <= process < processes:
        raise RecipeError(f"--process must be from 0 to {processes - 1}, not {process}")
    import jax

    try:
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        raise RecipeError(f"the processes did not come together: {error}") from error


@_command
def check(
    directory: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")],
    groups: Path | None = None,
    train_list: Path | None = None,
    test_list: Path | None = None,
    seed: int = 0,
) -> int:
    """Scan a folder of photos as training would, and report all that is wrong with it.

    The exit code is 0 if nothing is wrong, 1 if training would leave something out or warn, and 2
    if the folder cannot be trained on.

    Args:
        directory: Folder <class>/<photos> or {train,valid,test}/<class>/<photos>.
        groups: CSV file with the columns path,session; a session is not split.
        train_list: Text file of paths, one a line, that selects the training photos.
        test_list: Likewise the test photos.
        seed: Of the split.
    """
    from chifoumi_jax.data.folder.scanning import scan
    from chifoumi_jax.training.display import Display

    with Display().counting("Reading photos") as progress:
        found = scan(
            directory,
            groups=groups,
            train_list=train_list,
            test_list=test_list,
            seed=seed,
            progress=progress,
        )
    _print_table(
        ["class", "train", "valid", "test"],
        [[name, *map(str, counts.values())] for name, counts in found.counts().items()],
    )
    for line in describe(found.problems):
        print(line)
    wrong = sum(problem.effect != "note" for problem in found.problems)
    notes = len(found.problems) - wrong
    print(_count(wrong, "problem") + (f", {_count(notes, 'note')}" if notes else "") + ".")
    return int(wrong > 0)


@_command
def evaluate(
    run: Run,
    others: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="[RUN ...]", help_behavior_hint=""),
    ] = (),
    data: Path | None = None,
    test_list: Path | None = None,
    best: bool = False,
    batch_size: int = 25,
    out: Path | None = None,
    report: bool = True,
    images: bool = True,
    json_output: JsonOutput = False,
) -> int:
    """Test a run's model on labelled photos: its own test photos, or those of another folder.

    Of several runs each is tested on the same photos, and each pair is compared. A page for people,
    report.html, and all numbers, report.json, are written into a folder. What cannot be read is
    named and left out.

    Args:
        run: The run's folder, a file of export --to safetensors, or small, the packaged model.
        others: Further runs, which know the photos' classes too.
        data: Folder {test,…}/<class>/<photos>, of which test (or else valid) is taken, or
            <class>/<photos>.
        test_list: Text file of paths, one a line, that selects photos of --data.
        best: Take the best checkpoint instead of the last.
        batch_size: Photos at a time; the labels do not depend on it.
        out: Folder for the report; by default evaluation in the first run's folder (of a model
            without one, here), numbered.
        report: Write the report.
        images: Show photos in it; --no-images leaves them out, their names stay.
        json_output: Print JSON.
    """
    from chifoumi_jax import reports

    _require_at_least(1, batch_size, "--batch-size")
    if report:
        reports.require_free(run, out, data)
    elif out is not None:
        raise RecipeError("--out is the report's folder: give it or --no-report")
    found = reports.evaluate(
        [run, *others], data=data, test_list=test_list, best=best, batch_size=batch_size
    )
    if not json_output:
        _print_report(found)
    page = found.write(out, images=images) / reports.PAGE if report else None
    if json_output:
        numbers: dict[str, Any] = found.comparison() if others else found.runs[0]
        print(json.dumps(numbers | {"report": None if page is None else str(page)}, indent=2))
    elif page is not None:
        print(f"Report: {page}")
    return 0


def _print_report(report: Report) -> None:
    for line in report.runs[0]["problems"]:
        print(line, file=sys.stderr)
    for numbers in report.runs:
        _print_numbers(numbers, named=len(report.runs) > 1)
    for pair in report.comparisons:
        print(
            f"Photos that only {printable(pair['first'])} got right: {pair['only_first']}; only "
            f"{printable(pair['second'])}: {pair['only_second']}. "
            f"McNemar's exact test: p = {pair['p']:.2g}."
        )


def _print_numbers(numbers: Mapping[str, Any], *, named: bool) -> None:
    if named:
        print(printable(numbers["run"]))
    _print_table(
        ["true \\ predicted", *numbers["classes"], "recall"],
        [
            [name, *map(str, row), f"{row[place] / sum(row):.1%}" if sum(row) else "–"]
            for place, (name, row) in enumerate(
                zip(numbers["classes"], numbers["confusion"], strict=True)
            )
        ],
    )
    low, high = numbers["interval"]
    loss = "–" if numbers["loss"] is None else f"{numbers['loss']:.4f}"
    print(
        f"Accuracy {numbers['accuracy']:.2%} ({numbers['correct']} of {numbers['images']}; "
        f"95 % interval {low:.1%} to {high:.1%}), loss {loss}."
    )
    if numbers["learnt"]:
        _show_warning(
            f"{printable(numbers['run'])} was trained or validated on {numbers['learnt']} of these "
            f"{numbers['images']} photos: on new ones it is less accurate than this"
        )
    unsure = numbers["unsure"]
    if unsure["photos"]:
        rest = f"; of the others {unsure['rest_accuracy']:.2%} are right" if unsure["rest"] else ""
        print(f"Unsure of {unsure['photos']} ({unsure['share']:.1%}){rest}.")


@_command
def predict(
    run: Run,
    paths: Annotated[
        tyro.conf.Positional[tuple[Path, ...]],
        tyro.conf.arg(metavar="PATH [PATH ...]", help_behavior_hint=""),
    ],
    best: bool = False,
    batch_size: int = 25,
    output_format: Annotated[
        Literal["table", "jsonl", "csv"], tyro.conf.arg(name="format")
    ] = "table",
    json_output: JsonOutput = False,
    explain: Path | None = None,
) -> int:
    """Classify photos.

    A file that is no readable picture, an empty folder or a pattern that matches nothing is
    reported and does not stop the others; the exit code is then 1, and 2 if there was nothing to
    classify at all.

    Args:
        run: The run's folder, a file of export --to safetensors, or small, the packaged model.
        paths: Photos, folders of them, patterns in quotes ('photos/**/*.jpg'), or - for standard
            input: a photo, or a list of paths, one a line.
        best: Take the best checkpoint instead of the last.
        batch_size: Photos at a time; the labels do not depend on it.
        output_format: A table, one JSON object a line, or CSV.
        json_output: Print one JSON array.
        explain: Folder for a picture of each photo that shows where the network saw its label
            (Grad-CAM); no file is overwritten.
    """
    from chifoumi_jax.prediction.answer_formats import csv_lines, json_lines
    from chifoumi_jax.prediction.gradcam import require_feature_map
    from chifoumi_jax.prediction.inputs import expand
    from chifoumi_jax.prediction.load import load
    from chifoumi_jax.prediction.predict_files import answers, explain_in

    _require_at_least(1, batch_size, "--batch-size")
    if not paths:
        raise RecipeError("no photos given: name some after the run's folder")
    if json_output and output_format != "table":
        raise RecipeError(f"give --json or --format {output_format}, not both")
    # A process may be started without one.
    inputs = expand(paths, sys.stdin.buffer if sys.stdin else io.BytesIO())
    if all(one.problem for one in inputs):
        for one in inputs:
            print(f"error: {one.problem}", file=sys.stderr)
        if json_output:
            refused = [{"file": one.name, "error": one.problem} for one in inputs]
            print(json.dumps(refused, indent=2))
        return _USAGE_ERROR
    classifier = load(run, best=best)
    how = None
    if explain is not None:
        require_feature_map(classifier.recipe)
        how = explain_in(explain, inputs)
    errors: list[str] = []
    found = _reported(answers(classifier, inputs, batch_size=batch_size, explain=how), errors)
    if json_output:
        print(json.dumps(list(found), indent=2))
    elif output_format == "table":
        _print_answers(list(found), classifier.classes, explained=explain is not None)
    else:
        lines = (
            json_lines(found)
            if output_format == "jsonl"
            else csv_lines(found, classifier.classes, explained=explain is not None)
        )
        for line in lines:
            print(line, flush=True)
    return int(bool(errors))


def _reported(answers: Iterable[Answer], errors: list[str]) -> Iterator[Answer]:
    for answer in answers:
        if "error" in answer:
            errors.append(answer["error"])
            print(f"error: {answer['error']}", file=sys.stderr)
        yield answer


def _print_answers(answers: Sequence[Answer], classes: Sequence[str], explained: bool) -> None:
    read = [answer for answer in answers if "error" not in answer]
    if not read:
        return
    _print_table(
        ["file", "label", "", *classes, *(["heat map"] if explained else [])],
        [
            [
                answer["file"],
                answer["label"],
                "unsure" if answer["unsure"] else "",
                *(f"{p:.1%}" for p in answer["probabilities"].values()),
                *([Path(answer["explanation"]).name] if explained else []),
            ]
            for answer in read
        ],
    )


@_command
def crossval(
    data: Path,
    groups: Path | None = None,
    folds: int = 5,
    heads: tuple[int, ...] = (0, 1, 2),
    full: bool = False,
    recipe: RecipeName = "transfer",
    directed: bool = False,
    train_list: Path | None = None,
    epochs: FromRecipe[int] = None,
    image_size: FromRecipe[int] = None,
    seed: int = 0,
    out: Path = Path("crossval"),
) -> int:
    """Judge a pretrained network on photos of sessions that it did not learn from.

    The network runs once over every photo. On what comes out, a head of each depth is trained for
    each fold and judged on the photos left out. A table and a plot show every fold.

    Args:
        data: Folder <class>/<photos>, all of which are used, or {train,…}/<class>/<photos>, of
            which train is.
        groups: CSV file with the columns path,session; a session never stands on both sides.
        folds: How many.
        heads: Numbers of hidden layers to try; 0 is a linear head.
        full: Also train the whole network for each fold; kept in --out, so that a stopped command
            goes on where it was.
        recipe: One with a pretrained network.
        directed: As for train.
        train_list: Text file of paths, one a line, that selects the photos.
        epochs: Of --full.
        image_size: Height and width of the network's input.
        seed: Of the division and of the training.
        out: Folder for crossval.json, crossval.png and the trainings.
    """
    from chifoumi_jax.training.crossval import cross_validate

    _require_at_least(2, folds, "--folds")
    if not heads and not full:
        raise RecipeError("nothing to judge: name depths after --heads, or give --full")
    if epochs is not None and not full:
        raise RecipeError("--epochs is of whole trainings: give --full too, or leave it out")
    for depth in heads:
        _require_at_least(0, depth, "--heads")
    fields = {"image_size": image_size, "groups": groups, "train_list": train_list}
    given = {name: value for name, value in fields.items() if value is not None}
    chosen = RECIPES[recipe].directed() if directed else RECIPES[recipe]
    chosen = chosen.replace(data=data, seed=seed, runs=out, **given, **_as_many(epochs))
    divided, rows = cross_validate(chosen, folds=folds, depths=heads, full=full)
    numbers = [str(fold + 1) for fold in range(folds)]
    _print_table(
        ["model", "mean", "spread", *(f"fold {number}" for number in numbers)],
        [
            [row.name, *(f"{share:.1%}" for share in (row.mean, row.spread, *row.accuracies))]
            for row in rows
        ],
    )
    print(f"{divided.sentence}. The plot is in {out}.")
    return 0


@_command
def export(
    run: Run,
    to: Format,
    out: Path | None = None,
    data: Path | None = None,
    best: bool = False,
    preprocess: bool = False,
    int8: bool = False,
    force: bool = False,
    json_output: JsonOutput = False,
) -> int:
    """Write a run's model for another runtime.

    What is written is loaded again in that runtime and compared with the model on photos. Only if
    it computes the same does the file appear. The last line printed is its name.

    Args:
        run: The run's folder, a file of --to safetensors, or small, the packaged model.
        to: onnx; stablehlo, which JAX loads; safetensors, which chifoumi loads in place of a run's
            folder; keras; or torch, for torch.export.load.
        out: The file; by default model.onnx (.stablehlo, .safetensors, .keras, .pt2) in the run's
            folder.
        data: Folder of photos to compare on; by default the run's own, or rendered hands.
        best: Take the best checkpoint instead of the last.
        preprocess: ONNX: take pictures of any size, which the graph resizes.
        int8: ONNX: weights and activations in 8 bits; ranges are taken from training photos.
        force: Replace the file if it exists.
        json_output: Print JSON.
    """
    from chifoumi_jax.export import export as export_model
    from chifoumi_jax.training.display import Display

    with Display().counting("Reading photos") as progress:
        report = export_model(
            run,
            to,
            out,
            data=data,
            best=best,
            preprocess=preprocess,
            int8=int8,
            force=force,
            progress=progress,
        )
    if json_output:
        print(json.dumps(report.as_json(), indent=2))
        return 0
    print(f"Compared on {report.compared_on}:")
    _print_table(
        ["largest difference of", "is", "may be"],
        [[check.name, f"{check.difference:.2g}", f"{check.bound:.2g}"] for check in report.checks],
    )
    _print_table(
        ["", "size", "one photo", *(["accuracy"] if report.accuracies else [])],
        [row if report.accuracies else row[:-1] for row in report.rows()],
    )
    print(report.path)
    return 0


@_command
def summary(recipe: RecipeName = "cnn", classes: int = 3, image_size: int | None = None) -> int:
    """Print a recipe's model layer by layer, with output shapes and numbers of parameters.

    Args:
        recipe: Whose model.
        classes: Number of classes.
        image_size: Height and width of the network's input.
    """
    from chifoumi_jax.training.summary import layers, total

    _require_at_least(2, classes, "--classes")
    chosen = RECIPES[recipe]
    if image_size is not None:
        chosen = chosen.replace(image_size=image_size)
    table = layers(chosen, classes)
    _print_table(
        ["layer (type)", "output shape", "parameters"],
        [
            [f"{layer.name} ({layer.kind})", str(layer.output_shape), f"{layer.params:,}"]
            for layer in table
        ],
    )
    print(f"Total parameters: {total(table):,}")
    return 0


@_command
def hands(
    out: Path,
    images: int = 346,
    test_images: int | None = None,
    wild: bool = False,
    nothing: bool = False,
    seed: int = 0,
) -> int:
    """Draw a folder of hands that `train --data` reads.

    Args:
        out: The folder; it must not exist, or be empty.
        images: How many in all.
        test_images: How many of them to test on, with other people, light and backgrounds; by
            default 52 of 346, as in the study.
        wild: From many sides, before anything, in any light, as photos are; small.
        nothing: Also draw a fourth class of pictures without a hand.
        seed: Decides every picture.
    """
    from chifoumi_jax.hands import GESTURES, NOTHING, VARIETY, WILD, write_hands
    from chifoumi_jax.training.display import Display

    _require_at_least(8 if nothing else 6, images, "--images")
    with Display().counting("Drawing hands") as progress:
        try:
            write_hands(
                out,
                images=images,
                test_images=test_images,
                seed=seed,
                variety=WILD if wild else VARIETY,
                gestures=(*GESTURES, NOTHING) if nothing else GESTURES,
                progress=progress,
            )
        except ValueError as error:
            raise RecipeError(str(error)) from error
    print(out)
    return 0


@_command
def play(
    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]")] = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    open_browser: Annotated[bool, tyro.conf.arg(name="open")] = False,
    seed: int | None = None,
    runs: Path = Path("runs"),
) -> int:
    """Play rock-paper-scissors in the browser against the machine, ask it about photos, teach it.

    The line printed is the address of the page. Ctrl-C ends the server.

    Args:
        run: Folder of the run whose model looks, or a safetensors file of `chifoumi export`; the
            packaged model if not given.
        host: Name or address to serve at; by default no other machine reaches it.
        port: To serve at; 0 takes one that is free.
        open_browser: Open the page in the browser.
        seed: Of the machine's moves; by default nobody can foretell them.
        runs: Folder for what the page Teach saves.
    """
    from chifoumi_jax.builtin import builtin_run

    if not 0 <= port <= 65535:
        raise RecipeError(f"--port must be from 0 to 65535, not {port}")
    directory = builtin_run() if run is None else run
    try:
        from chifoumi_jax.play.server import serve
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise RecipeError(
            f"the game needs {error.name}, which is not installed: pip install 'chifoumi-jax[play]'"
        ) from error
    serve(directory, host=host, port=port, open_browser=open_browser, seed=seed, runs=runs)
    return 0


def main(arguments: Sequence[str] | None = None, prog: str = "chifoumi") -> NoReturn:
    """Run the command that the arguments name, and end the process with its exit code.

    The code is 0 for success, 2 if the command cannot do what it was asked (with one sentence
    that says why), 130 after Ctrl-C, 141 if nobody reads on; `check` and `predict` also use 1.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    # What was imported stays: looking through it again and again, and taking it apart at the end,
    # is a sixth of a short command's time.
    gc.freeze()
    atexit.register(gc.freeze)
    # Pillow warns of odd metadata, which no user can act on.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # Orbax logs the traceback of an error that it also raises.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    warnings.showwarning = _show_warning
    try:
        if "" in arguments:
            raise RecipeError("an argument is empty: is it a shell variable that is not set?")
        _keep_compiled()
        sys.exit(app.cli(args=arguments, prog=prog))
    except KeyboardInterrupt as stop:
        directory = getattr(stop, "directory", None)
        print("" if directory is None else _how_to_go_on(directory), file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # Who reads has seen enough. What is left must not be written at the end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_BROKEN_PIPE)
    except _user_errors() as error:
        for line in describe(getattr(error, "problems", ())):
            print(line, file=sys.stderr)
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(_USAGE_ERROR)


def _keep_compiled() -> None:
    try:
        keep_compiled()
    except OSError as error:
        _show_warning(f"what is compiled will not be kept for the next start: {_sentence(error)}")


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{error.filename}: {error.strerror.lower()}"
    return str(error)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _user_errors() -> tuple[type[Exception], ...]:
    """What a user can mend. A function, as it is needed only once an error has occurred."""
    from chifoumi_jax.convert import WeightsError
    from chifoumi_jax.convert.pretrained import PretrainedError
    from chifoumi_jax.data.problems import DataError
    from chifoumi_jax.export import ExportError
    from chifoumi_jax.training.checkpoint import CheckpointError
    from chifoumi_jax.training.resources import DoesNotFitError
    from chifoumi_jax.training.run import RunError

    return (
        CheckpointError,
        DataError,
        DoesNotFitError,
        ExportError,
        PretrainedError,
        RecipeError,
        RunError,
        WeightsError,
        OSError,
    )


def _count(number: int, thing: str) -> str:
    return f"{number or 'No'} {thing}{'' if number == 1 else 's'}"


def _as_many(epochs: int | None) -> dict[str, int]:
    """What a recipe takes of `--epochs`: that many, of few photos too."""
    return {} if epochs is None else {"epochs": epochs, "min_steps": 0}


def _require_at_least(least: int, value: int, option: str) -> None:
    if value < least:
        raise RecipeError(f"{option} must be at least {least}, not {value}")


def _how_to_go_on(directory: Path) -> str:
    return f"Stopped and saved. Go on with: chifoumi train --resume {shlex.quote(str(directory))}"


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for place, name in enumerate(header):
        table.add_column(Text(printable(name)), justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    # What is piped into a file or another program keeps its lines whole.
    width = None if sys.stdout.isatty() else 500
    Console(highlight=False, width=width).print(table)


if __name__ == "__main__":
    main()
