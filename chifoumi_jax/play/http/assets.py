"""The files of the pages: a fixed table, read once. No path that a client names is opened."""

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}
PAGES = {"/": "play", "/photos": "photos", "/teach": "teach"}
# What all pages have around their own part.
_SHELL = "shell.html"


class Asset(NamedTuple):
    """A file as it is sent."""

    content: bytes
    media_type: str
    etag: str


def read_assets() -> Mapping[str, Asset]:
    """Every file by its path on the server."""
    files = {
        entry.name: entry.read_bytes()
        for entry in resources.files("chifoumi_jax.play").joinpath("static").iterdir()
        if entry.is_file() and _extension(entry.name) in _TYPES
    }
    shell = files.pop(_SHELL).decode()
    pages = {
        path: _asset(f"{name}.html", _page(shell, name, files.pop(f"{name}.html").decode()))
        for path, name in PAGES.items()
    }
    return pages | {f"/static/{name}": _asset(name, content) for name, content in files.items()}


def _page(shell: str, name: str, main: str) -> bytes:
    return (
        shell.replace("<!-- main -->", main)
        .replace("page.js", f"{name}.js")
        .replace(f'data-page="{name}"', 'aria-current="page"')
        .encode()
    )


def _asset(name: str, content: bytes) -> Asset:
    etag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
    return Asset(content, _TYPES[_extension(name)], etag)


def _extension(name: str) -> str:
    return name.rpartition(".")[2]
