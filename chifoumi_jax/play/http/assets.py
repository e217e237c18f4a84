"""The pages' files: a fixed table, read once; the server opens no path that a client sends."""

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

_MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}
PAGES = {"/": "play", "/photos": "photos", "/teach": "teach"}
# The HTML that all pages share; it contains a placeholder for each page's own part.
_SHELL = "shell.html"


class Asset(NamedTuple):
    """A file as the server sends it."""

    content: bytes
    media_type: str
    etag: str


def read_assets() -> Mapping[str, Asset]:
    """All files, by their URL path."""
    files = {
        entry.name: entry.read_bytes()
        for entry in resources.files("chifoumi_jax.play").joinpath("static").iterdir()
        if entry.is_file() and _extension(entry.name) in _MEDIA_TYPES
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
    return Asset(content, _MEDIA_TYPES[_extension(name)], etag)


def _extension(name: str) -> str:
    return name.rpartition(".")[2]
