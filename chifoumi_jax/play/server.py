"""The server's process: it binds, loads the model, says where it is, and ends on Ctrl-C."""

from __future__ import annotations

import errno
import signal
import socket
import sys
import threading
import webbrowser
from pathlib import Path

import uvicorn

from chifoumi_jax.play.app import create_app
from chifoumi_jax.play.http.guard import Hosts, is_loopback
from chifoumi_jax.play.http.limits import Limits
from chifoumi_jax.play.http.timeout import punctual
from chifoumi_jax.play.models import Model, Models
from chifoumi_jax.play.service import Service
from chifoumi_jax.prediction.load import load
from chifoumi_jax.training.run import RunError


def serve(
    run: Path, *, host: str, port: int, open_browser: bool, seed: int | None, runs: Path
) -> None:
    """Serve the pages until Ctrl-C.

    Args:
        run: The run's folder to begin with.
        host: Name or address to bind.
        port: To bind; 0 is any that is free.
        open_browser: Whether to open the page in the user's browser.
        seed: Of the opponent; unpredictable if `None`.
        runs: Folder for what Teach saves.

    Raises:
        RunError: If the address cannot be bound, or the folder is no run.
        CheckpointError: If no checkpoint of the run is whole.
    """
    bound = _bind(host, port)
    with bound:
        if not is_loopback(host):
            print(
                f"warning: everyone who reaches {host} can use this server, and browsers give the "
                "camera to pages from this machine only",
                file=sys.stderr,
            )
        classifier, name = load(run), run.resolve().name.removesuffix(".safetensors")
        service = Service(Models(Model(name, classifier, run)), Limits(), seed, runs)
        # For one player; what several need is compiled when they come.
        service.worker.warm_up(classifier, 1).result()
        url = f"http://{_shown(host)}:{bound.getsockname()[1]}/"
        # The next line is a result: it goes where a program that starts this one reads it.
        print(url, flush=True)
        print("Ctrl-C ends it.", file=sys.stderr)
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        # Uvicorn ends in order, and then raises the signal again: as this, not as its default.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        try:
            uvicorn.Server(config(service, Hosts(host))).run(sockets=[bound])
        except KeyboardInterrupt:
            print(file=sys.stderr)
        finally:
            service.close()


def config(service: Service, hosts: Hosts) -> uvicorn.Config:
    """How uvicorn serves the application."""
    return uvicorn.Config(
        create_app(service, hosts),
        loop="asyncio",
        http=punctual(service.limits.header_seconds),
        ws="none",
        lifespan="off",
        # Its warnings are about what a client does.
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=16_384,
    )


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise RunError(f"--host {host} is no address of this machine: {error.strerror}") from error
    family, kind, protocol, _, address = found[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # From here on who connects waits, instead of being refused until the model is ready.
        bound.listen()
    except OSError as error:
        bound.close()
        raise RunError(_why_not(host, port, error)) from error
    return bound


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is in use: end what uses it, name another with --port, or take any "
            "that is free with --port 0"
        )
    if error.errno == errno.EACCES:
        return f"port {port} is for the system: name one above 1023 with --port"
    return f"--host {host} cannot be bound: {error.strerror}"


def _shown(host: str) -> str:
    host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    return f"[{host}]" if ":" in host else host
