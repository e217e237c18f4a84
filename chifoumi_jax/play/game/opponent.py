"""The machine's choice of hand: random, or predicted from the player's past hands."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from chifoumi_jax.play.game.roles import HANDS, Hand

Strategy = Literal["fair", "learning"]

_BEATS: dict[Hand, Hand] = {"rock": "scissors", "paper": "rock", "scissors": "paper"}
# Share of random moves of the learning opponent, so that a player cannot exploit it.
_RANDOM_SHARE = 0.1
# Longest context in rounds, and the factor by which each further round of context counts more.
_MAX_CONTEXT, _CONTEXT_FACTOR = 2, 4


class Round(NamedTuple):
    """A finished round."""

    player: Hand
    machine: Hand


def beats(one: Hand, other: Hand) -> bool:
    """Whether the first hand wins."""
    return _BEATS[one] == other


def choose(strategy: Strategy, history: Sequence[Round], rng: random.Random) -> Hand:
    """The machine's hand for the next round, chosen from the earlier rounds alone.

    Args:
        strategy: "fair" draws each hand with equal probability. "learning" is a Markov chain: it
            counts the hands that the player showed after rounds like the last one and the last two
            (both players' hands), and plays against the likely next hand; a tenth of its moves are
            random.
        history: Finished rounds, oldest first.
        rng: Source of all randomness.
    """
    if strategy == "fair" or rng.random() < _RANDOM_SHARE:
        return rng.choice(HANDS)
    expected = hand_probabilities(history)
    scores = {
        hand: sum(
            weight * (beats(hand, other) - beats(other, hand)) for other, weight in expected.items()
        )
        for hand in HANDS
    }
    best = max(scores.values())
    return rng.choice([hand for hand in HANDS if scores[hand] == best])


def hand_probabilities(history: Sequence[Round]) -> dict[Hand, float]:
    """Predicted probability of each hand being the player's next one; they sum to 1."""
    weights: Counter[Hand] = Counter(dict.fromkeys(HANDS, 1))
    for length in range(_MAX_CONTEXT + 1):
        for hand in _hands_after(history, length):
            weights[hand] += _CONTEXT_FACTOR**length
    total = sum(weights.values())
    return {hand: weights[hand] / total for hand in HANDS}


def _hands_after(history: Sequence[Round], length: int) -> Iterator[Hand]:
    """The hands that the player showed after rounds equal to the last `length` ones."""
    last = list(history[len(history) - length :])
    for place in range(length, len(history)):
        if list(history[place - length : place]) == last:
            yield history[place].player
