"""Pages that need nothing else: no script, nothing from the network, whatever their names hold."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from chifoumi_jax.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment


def page_environment(package: str, directory: str) -> Environment:
    """A jinja2 environment for the templates in a package's directory.

    Values are escaped, a name that the template does not know is an error, and control characters
    in plain strings are made visible.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package, directory),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_without_controls,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def jpeg_uri(jpeg: bytes) -> str:
    """A JPEG as a data URI, to stand in a page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _without_controls(value: Any) -> Any:
    # Plain strings only: what the template itself made is Markup.
    return printable(value) if type(value) is str else value
