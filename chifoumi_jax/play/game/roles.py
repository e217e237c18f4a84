"""Which class of a model is which hand of the game."""

import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

Hand = Literal["rock", "paper", "scissors"]
HANDS: tuple[Hand, ...] = get_args(Hand)

# English and French, without accents.
_NAMES: dict[str, Hand] = {
    **dict.fromkeys(("rock", "rocks", "stone", "fist", "pierre", "caillou", "poing"), "rock"),
    **dict.fromkeys(("paper", "papers", "papier", "feuille"), "paper"),
    **dict.fromkeys(("scissors", "scissor", "ciseaux", "ciseau"), "scissors"),
}
_NOTHING = {"none", "nothing", "background", "no hand", "nohand", "empty", "rien", "vide", "fond"}


class Roles(NamedTuple):
    """What a model's classes are in the game.

    Attributes:
        hands: The hand that a class stands for, by the class's name.
        missing: Hands without a class.
        strange: Classes that are no hand, or the same hand as another one.
    """

    hands: dict[str, Hand]
    missing: tuple[Hand, ...]
    strange: tuple[str, ...]

    @property
    def playable(self) -> bool:
        """Whether the model can be played with."""
        return not self.missing and not self.strange


def roles(classes: Sequence[str]) -> Roles:
    """The roles of a model's classes; names are English or French, in any case."""
    hands: dict[str, Hand] = {}
    strange = []
    for name in classes:
        hand = _NAMES.get(_plain(name))
        if hand is not None and hand not in hands.values():
            hands[name] = hand
        elif not stands_for_nothing(name):
            strange.append(name)
    missing = tuple(hand for hand in HANDS if hand not in hands.values())
    return Roles(hands, missing, tuple(strange))


def stands_for_nothing(name: str) -> bool:
    """Whether a class of this name says that there is no hand."""
    return _plain(name) in _NOTHING


def _plain(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold())
    words = "".join(" " if c in "_-" else c for c in letters if not unicodedata.combining(c))
    return " ".join(words.split())
