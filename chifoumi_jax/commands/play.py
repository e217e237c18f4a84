"""`chifoumi play`: the browser game."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from chifoumi_jax.environment import require_installed
from chifoumi_jax.errors import RecipeError


def play(
    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]")] = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    open_browser: Annotated[bool, tyro.conf.arg(name="open")] = False,
    seed: int | None = None,
    runs: Path = Path("runs"),
) -> int:
    """Play rock-paper-scissors in the browser, classify photos, and teach new classes.

    The command prints the page's URL. Ctrl-C stops the server.

    Args:
        run: Folder of the run whose model is used, or a safetensors file of `chifoumi export`; the
            packaged model if not given.
        host: Name or address to serve on; by default other machines cannot reach the server.
        port: Port to serve on; 0 takes any free port.
        open_browser: Open the page in the browser.
        seed: Seed of the machine's moves; by default they are unpredictable.
        runs: Folder where the Teach page saves its pictures and runs.
    """
    from chifoumi_jax.builtin import builtin_run

    if not 0 <= port <= 65535:
        raise RecipeError(f"--port must be from 0 to 65535, not {port}")
    directory = builtin_run() if run is None else run
    require_installed("the game", "starlette", "uvicorn", extra="play")
    from chifoumi_jax.play.server import serve

    serve(directory, host=host, port=port, open_browser=open_browser, seed=seed, runs=runs)
    return 0
