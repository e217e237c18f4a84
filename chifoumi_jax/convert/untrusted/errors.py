"""The error for weights that cannot be loaded; context managers add the file name to it."""

import contextlib
from collections.abc import Iterator

from chifoumi_jax.errors import UserError


class WeightsError(UserError, ValueError):
    """Weights do not fit the network, or their file is damaged, hostile or of another format.

    The message names the file and the tensor, and says what was expected.
    """


# Limits the message, because text quoted from a hostile file may have any length.
_MAX_MESSAGE = 600


@contextlib.contextmanager
def error_context(name: str) -> Iterator[None]:
    """Prefixes a `WeightsError` with `name`; turns errors of the operating system into one."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{name}: {_sanitized(str(error))}") from error
    except OSError as error:
        raise WeightsError(f"{name}: {error.strerror or error}") from error
    except MemoryError as error:
        raise WeightsError(f"{name}: not enough memory for it") from error


@contextlib.contextmanager
def as_weights_error(what: str, damage: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turns a library's errors about damaged content into a `WeightsError`."""
    try:
        yield
    except WeightsError:
        raise
    except damage as error:
        reason = str(error) or type(error).__name__
        raise WeightsError(f"{what} cannot be read: {reason}") from error


def _sanitized(text: str) -> str:
    """Returns `text` without control characters, and without its middle if it is long."""
    if len(text) > _MAX_MESSAGE:
        text = f"{text[: _MAX_MESSAGE // 2]} … {text[-_MAX_MESSAGE // 2 :]}"
    return "".join(character if character.isprintable() else " " for character in text)
