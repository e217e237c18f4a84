"""Text that is safe to print to a terminal or a log."""


def printable(text: str) -> str:
    """`text` with its unprintable characters escaped; all other characters stay."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )
