"""The error of weights that cannot be taken over, and how it comes to name the file."""

import contextlib
from collections.abc import Iterator

from chifoumi_jax.errors import UserError


class WeightsError(UserError, ValueError):
    """Weights are not those of the network, or their file is damaged, hostile or of another kind.

    The message names the file and the tensor, and says what was expected.
    """


# What a message quotes from a hostile file may be of any length.
_MAX_MESSAGE = 600


@contextlib.contextmanager
def about(name: str) -> Iterator[None]:
    """Put `name` before a `WeightsError`, and make one of what the operating system refuses."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{name}: {_shortened(str(error))}") from error
    except OSError as error:
        raise WeightsError(f"{name}: {error.strerror or error}") from error
    except MemoryError as error:
        raise WeightsError(f"{name}: not enough memory for it") from error


@contextlib.contextmanager
def unreadable(what: str, damage: tuple[type[Exception], ...]) -> Iterator[None]:
    """Make a `WeightsError` of what a library raises about bytes that it does not understand."""
    try:
        yield
    except WeightsError:
        raise
    except damage as error:
        reason = str(error) or type(error).__name__
        raise WeightsError(f"{what} cannot be read: {reason}") from error


def _shortened(text: str) -> str:
    """`text` without its middle if it is long, and without what would control a terminal."""
    if len(text) > _MAX_MESSAGE:
        text = f"{text[: _MAX_MESSAGE // 2]} … {text[-_MAX_MESSAGE // 2 :]}"
    return "".join(character if character.isprintable() else " " for character in text)
