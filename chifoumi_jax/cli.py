"""The command line: `chifoumi train | check | evaluate | predict | export | play | …`."""

from __future__ import annotations

import atexit
import functools
import gc
import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args, get_origin, get_type_hints

import tyro

from chifoumi_jax.commands.check import check
from chifoumi_jax.commands.crossval import crossval
from chifoumi_jax.commands.evaluate import evaluate
from chifoumi_jax.commands.export import export
from chifoumi_jax.commands.hands import hands
from chifoumi_jax.commands.options import USAGE_ERROR
from chifoumi_jax.commands.output import sentence, show_warning
from chifoumi_jax.commands.play import play
from chifoumi_jax.commands.predict import predict
from chifoumi_jax.commands.reproduce import reproduce
from chifoumi_jax.commands.summary import summary
from chifoumi_jax.commands.train import train
from chifoumi_jax.compilation_cache import enable_compilation_cache
from chifoumi_jax.errors import RecipeError, UserError

COMMANDS = (train, check, evaluate, predict, crossval, export, summary, hands, play, reproduce)
"""All commands, in the order in which the help lists them."""

# Exit codes, besides 0, 1 and `USAGE_ERROR`.
_INTERRUPTED = 130
# What a shell reports for a process that SIGPIPE ended.
_BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None, prog: str = "chifoumi") -> NoReturn:
    """Run the command that the arguments name, and end the process with its exit code.

    The code is 0 for success, 2 if the command cannot do what it was asked (with one sentence
    that says why), 130 after Ctrl-C, 141 if the reader of the output has closed it; `check` and
    `predict` also use 1.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    # Imported objects live as long as the process. Scanning them again and again, and freeing them
    # at the end, would take a sixth of a short command's time.
    gc.freeze()
    atexit.register(gc.freeze)
    # Pillow warns of odd metadata, which no user can act on.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # Orbax logs the traceback of an error that it also raises.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    warnings.showwarning = show_warning
    if list(arguments) == ["--version"]:
        print(f"{prog} {metadata.version('chifoumi-jax')}")
        sys.exit(0)
    try:
        if "" in arguments:
            raise RecipeError("an argument is empty: is it a shell variable that is not set?")
        _enable_compilation_cache()
        sys.exit(_app().cli(args=arguments, prog=prog, description=_DESCRIPTION))
    except KeyboardInterrupt as stop:
        directory = getattr(stop, "directory", None)
        print("" if directory is None else _how_to_resume(directory, stop), file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        # The reader has closed the pipe, so that the buffered output must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_BROKEN_PIPE)
    except (UserError, OSError) as error:
        for line in getattr(error, "details", ()):
            print(line, file=sys.stderr)
        print(f"error: {sentence(error)}", file=sys.stderr)
        sys.exit(USAGE_ERROR)


_DESCRIPTION = (
    "Train a classifier of photos in JAX, test it, use it, and write it for other runtimes. "
    "chifoumi COMMAND --help lists a command's options; chifoumi --version prints the version."
)


@functools.cache
def _app() -> tyro.extras.SubcommandApp:
    app = tyro.extras.SubcommandApp()
    for command in COMMANDS:
        app.command(_with_help(command))
    return app


def _with_help(command: Callable[..., int]) -> Callable[..., int]:
    """Join the help of each argument into one line, because tyro wraps it to the terminal."""
    command.__doc__ = re.sub(r"\n {12,}", " ", command.__doc__ or "")
    hints = get_type_hints(command, include_extras=True)
    command.__annotations__ = {name: _with_metavar(hint) for name, hint in hints.items()}
    return command


def _with_metavar(hint: Any) -> Any:
    """For an optional argument, let the help show PATH instead of {None}|PATH."""
    bare, *others = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    types = get_args(bare)
    if type(None) not in types:
        return hint
    (only_type,) = set(types) - {type(None)}
    choices = get_args(only_type)
    name = f"{{{','.join(choices)}}}" if choices else only_type.__name__.upper()
    return Annotated[bare, tyro.conf.arg(metavar=name), *others]


def _enable_compilation_cache() -> None:
    try:
        enable_compilation_cache()
    except OSError as error:
        show_warning(f"compiled programs are not kept for the next start: {sentence(error)}")


def _how_to_resume(directory: Path, stop: KeyboardInterrupt) -> str:
    command = getattr(stop, "command", "train")
    return f"Stopped and saved. Continue: chifoumi {command} --resume {shlex.quote(str(directory))}"


if __name__ == "__main__":
    main()
