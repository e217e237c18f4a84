"""Text for people: names that cannot garble a terminal, and counts of things."""


def printable(text: str) -> str:
    """`text` with what could garble a terminal or a log escaped; other letters stay."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )
