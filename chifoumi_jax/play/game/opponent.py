"""The machine's move: at random, or from what a player did before."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from chifoumi_jax.play.game.roles import HANDS, Hand

Strategy = Literal["fair", "learning"]

_BEATS: dict[Hand, Hand] = {"rock": "scissors", "paper": "rock", "scissors": "paper"}
# How often the learning opponent moves at random, so that it cannot be led by the nose.
_RANDOM_SHARE = 0.1
# How many rounds before a move are looked at, and how much more a longer memory counts.
_LONGEST, _FACTOR = 2, 4


class Round(NamedTuple):
    """A finished round."""

    player: Hand
    machine: Hand


def beats(one: Hand, other: Hand) -> bool:
    """Whether the first hand wins."""
    return _BEATS[one] == other


def choose(strategy: Strategy, history: Sequence[Round], rng: random.Random) -> Hand:
    """The machine's hand for the next round, from the rounds before it alone.

    Args:
        strategy: "fair" draws each hand alike. "learning" is a Markov chain: it counts what the
            player showed after rounds like the last one and the last two (who showed what), and
            answers what is likely now; a tenth of its moves are random.
        history: Finished rounds, oldest first.
        rng: Decides all that is random.
    """
    if strategy == "fair" or rng.random() < _RANDOM_SHARE:
        return rng.choice(HANDS)
    expected = expect(history)
    scores = {
        hand: sum(
            weight * (beats(hand, other) - beats(other, hand)) for other, weight in expected.items()
        )
        for hand in HANDS
    }
    best = max(scores.values())
    return rng.choice([hand for hand in HANDS if scores[hand] == best])


def expect(history: Sequence[Round]) -> dict[Hand, float]:
    """How likely each hand of the player is to come next; sums to 1."""
    weights: Counter[Hand] = Counter(dict.fromkeys(HANDS, 1))
    for length in range(_LONGEST + 1):
        for hand in _followers(history, length):
            weights[hand] += _FACTOR**length
    total = sum(weights.values())
    return {hand: weights[hand] / total for hand in HANDS}


def _followers(history: Sequence[Round], length: int) -> Iterator[Hand]:
    """The player's hands that came after rounds equal to the last `length` ones."""
    last = list(history[len(history) - length :])
    for place in range(length, len(history)):
        if list(history[place - length : place]) == last:
            yield history[place].player
