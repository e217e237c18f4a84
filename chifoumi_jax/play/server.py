"""Runs the server: binds the port, loads the model, prints the URL, and serves until Ctrl-C."""

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
from chifoumi_jax.play.http.timeout import protocol_with_header_timeout
from chifoumi_jax.play.models import Model, Models
from chifoumi_jax.play.service import Service
from chifoumi_jax.prediction.load import load
from chifoumi_jax.training.run import RunError


def serve(
    run: Path, *, host: str, port: int, open_browser: bool, seed: int | None, runs: Path
) -> None:
    """Serve the pages until Ctrl-C.

    Args:
        run: Folder of the run whose model the pages use first.
        host: Name or address to bind.
        port: Port to bind; 0 means any free port.
        open_browser: Whether to open the page in the user's browser.
        seed: Seed of the opponent; `None` makes it unpredictable.
        runs: Folder where Teach saves its pictures and runs.

    Raises:
        RunError: If the address cannot be bound, or the folder is not a run.
        CheckpointError: If the run has no complete checkpoint.
    """
    listener = _bind(host, port)
    with listener:
        if not is_loopback(host):
            print(
                f"warning: everyone who reaches {host} can use this server, and browsers allow the "
                "camera only on pages from this machine",
                file=sys.stderr,
            )
        classifier, name = load(run), run.resolve().name.removesuffix(".safetensors")
        service = Service(Models(Model(name, classifier, run)), Limits(), seed, runs)
        # Compiles the batch size for one player; larger batches are compiled when they first occur.
        service.worker.warm_up(classifier, 1).result()
        url = f"http://{_url_host(host)}:{listener.getsockname()[1]}/"
        # On standard output, because a program that starts this one reads the URL there.
        print(url, flush=True)
        print("Press Ctrl-C to stop the server.", file=sys.stderr)
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        # Uvicorn shuts down cleanly and then raises the signal again. These handlers make that a
        # KeyboardInterrupt; the signals' default would end the process without cleaning up.
        for signal_number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(signal_number, signal.default_int_handler)
        try:
            uvicorn.Server(uvicorn_config(service, Hosts(host))).run(sockets=[listener])
        except KeyboardInterrupt:
            print(file=sys.stderr)
        finally:
            service.close()


def uvicorn_config(service: Service, hosts: Hosts) -> uvicorn.Config:
    """Uvicorn's configuration with the application."""
    return uvicorn.Config(
        create_app(service, hosts),
        loop="asyncio",
        http=protocol_with_header_timeout(service.limits.header_seconds),
        ws="none",
        lifespan="off",
        # Without warnings, because they are about what clients do.
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
        raise RunError(
            f"--host {host} is not an address of this machine: {error.strerror}"
        ) from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Listens before the model is ready, so that early clients wait instead of being refused.
        listener.listen()
    except OSError as error:
        listener.close()
        raise RunError(_bind_error(host, port, error)) from error
    return listener


def _bind_error(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} is in use: stop the program that uses it, choose another port with "
            "--port, or any free port with --port 0"
        )
    if error.errno == errno.EACCES:
        return f"port {port} is reserved for the system: choose a port above 1023 with --port"
    return f"--host {host} cannot be bound: {error.strerror}"


def _url_host(host: str) -> str:
    host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    return f"[{host}]" if ":" in host else host
