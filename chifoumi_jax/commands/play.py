"""`chifoumi play`: the game in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from chifoumi_jax.errors import RecipeError


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
