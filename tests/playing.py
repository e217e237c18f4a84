"""Helpers for the tests of the game: a fake camera, servers and a browser."""

import contextlib
import http.client
import io
import json
import os
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import uvicorn
from PIL import Image

from chifoumi_jax.play.http.guard import Hosts
from chifoumi_jax.play.http.limits import Limits
from chifoumi_jax.play.models import Model, Models
from chifoumi_jax.play.server import uvicorn_config
from chifoumi_jax.play.service import Service
from chifoumi_jax.prediction.load import load
from tests.commands import Running, start_chifoumi

# Size of the camera's picture, and side of the square in its middle that the page crops; in pixels.
CAMERA, SQUARE = (320, 240), 202


def jpeg(image: Image.Image) -> bytes:
    """The picture as a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92)
    return file.getvalue()


def show(camera: Path, picture: Image.Image) -> None:
    """Show a picture to the fake camera: write the video file that Chromium plays.

    Chromium reads the file again for each frame, so a running camera shows the new picture.
    """
    width, height = CAMERA
    left, top = (width - SQUARE) // 2, (height - SQUARE) // 2
    square = np.asarray(picture.convert("RGB").resize((SQUARE, SQUARE)))
    margins = ((top, height - SQUARE - top), (left, width - SQUARE - left), (0, 0))
    scene = Image.fromarray(np.pad(square, margins, mode="edge")).convert("YCbCr")
    luma, *chroma = scene.split()
    half = [np.asarray(part.resize((width // 2, height // 2))) for part in chroma]
    frame = b"FRAME\n" + b"".join(np.asarray(part).tobytes() for part in (luma, *half))
    head = f"YUV4MPEG2 W{width} H{height} F20:1 Ip A1:1 C420mpeg2\n".encode()
    with camera.open("r+b" if camera.exists() else "wb") as file:
        file.write(head + frame * 2)


class Answer(NamedTuple):
    """A server's response."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def value(self) -> Any:
        """The JSON of the content."""
        return json.loads(self.content)

    @property
    def error(self) -> str:
        """The code of the JSON error."""
        return str(self.value["error"]["code"])


class Address(NamedTuple):
    """Address of a server on this machine."""

    port: int

    @property
    def url(self) -> str:
        """URL of the first page."""
        return f"http://127.0.0.1:{self.port}/"

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one request; a `dict` is sent as JSON, bytes are sent as a JPEG."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = dict(headers or {})
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent = {"Content-Type": "application/json"} | sent
        elif body is not None:
            sent = {"Content-Type": "image/jpeg"} | sent
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()


@contextlib.contextmanager
def serving(
    run: Path, runs: Path, *, limits: Limits | None = None
) -> Iterator[tuple[Address, Service]]:
    """A server in a thread of this process."""
    classifier = load(run)
    service = Service(Models(Model(run.name, classifier, run)), limits or Limits(), 0, runs)
    service.worker.warm_up(classifier).result()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn_config(service, Hosts("127.0.0.1")))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Address(listener.getsockname()[1]), service
    finally:
        server.should_exit = True
        thread.join()
        service.close()
        listener.close()


class ServerProcess(NamedTuple):
    """A server that runs as a process of the command line."""

    process: Running
    address: Address


@contextlib.contextmanager
def start_server(run: Path, *options: str, cwd: Path) -> Iterator[ServerProcess]:
    """Start `chifoumi play` as a process and wait until it prints its URL; kill it at the end."""
    process = start_chifoumi("play", run, *options, cwd=cwd)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", line)
        assert found is not None, f"{line!r} {process.communicate()[1]}"
        yield ServerProcess(process, Address(int(found[1])))
    finally:
        process.kill()
        process.communicate()


def chromium() -> str | None:
    """Path of an installed Chromium, or `None`."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def chromium_options(camera: Path | None, *more: str) -> list[str]:
    """Chromium's options, with a fake camera that plays a file, or without a camera."""
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    if camera is not None:
        options += [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        ]
    return [*options, *more]
