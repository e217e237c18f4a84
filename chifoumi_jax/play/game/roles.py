"""Maps a model's classes to the hands of the game, by their names."""

import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

Hand = Literal["rock", "paper", "scissors"]
HANDS: tuple[Hand, ...] = get_args(Hand)

# English and French, without accents.
_HAND_NAMES: dict[str, Hand] = {
    **dict.fromkeys(("rock", "rocks", "stone", "fist", "pierre", "caillou", "poing"), "rock"),
    **dict.fromkeys(("paper", "papers", "papier", "feuille"), "paper"),
    **dict.fromkeys(("scissors", "scissor", "ciseaux", "ciseau"), "scissors"),
}
_NO_HAND = {"none", "nothing", "background", "no hand", "nohand", "empty", "rien", "vide", "fond"}


class Roles(NamedTuple):
    """What each class of a model means in the game.

    Attributes:
        hands: The hand of a class, by the class's name.
        missing: Hands without a class.
        strange: Classes that are not a hand, or the same hand as an earlier class; a class for no
            hand is not among them.
    """

    hands: dict[str, Hand]
    missing: tuple[Hand, ...]
    strange: tuple[str, ...]

    @property
    def playable(self) -> bool:
        """Whether the model can be used for the game."""
        return not self.missing and not self.strange


def roles(classes: Sequence[str]) -> Roles:
    """The roles of a model's classes.

    Names may be English or French; case, accents, hyphens and underscores do not matter.
    """
    hands: dict[str, Hand] = {}
    strange = []
    for name in classes:
        hand = _HAND_NAMES.get(_normalized(name))
        if hand is not None and hand not in hands.values():
            hands[name] = hand
        elif not means_no_hand(name):
            strange.append(name)
    missing = tuple(hand for hand in HANDS if hand not in hands.values())
    return Roles(hands, missing, tuple(strange))


def means_no_hand(name: str) -> bool:
    """Whether a class of this name means that no hand is in view."""
    return _normalized(name) in _NO_HAND


def _normalized(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold())
    words = "".join(" " if c in "_-" else c for c in letters if not unicodedata.combining(c))
    return " ".join(words.split())
