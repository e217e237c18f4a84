"""The game without a server: class names, readings, the opponent, the commitment, the texts."""

import hashlib
import json
import random
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chifoumi_jax.play
from chifoumi_jax.play.game.commitment import Rounds
from chifoumi_jax.play.game.opponent import Round, beats, choose, hand_probabilities
from chifoumi_jax.play.game.roles import HANDS, roles
from chifoumi_jax.play.http.guard import Hosts
from chifoumi_jax.play.reading import apply_threshold
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.load import load

STATIC = Path(chifoumi_jax.play.__file__).parent / "static"
TEXTS = json.loads((STATIC / "strings.json").read_text())

histories = st.lists(st.builds(Round, st.sampled_from(HANDS), st.sampled_from(HANDS)), max_size=40)


@pytest.mark.parametrize(
    "classes",
    [
        ("rock", "paper", "scissors"),
        ("Pierre", "FEUILLE", "ciseaux"),
        ("papier", "Caillou", "Ciseaux", "rien"),
        ("scissor", "stone", "Paper", "no_hand"),
    ],
)
def test_hands_are_found_by_name(classes: tuple[str, ...]) -> None:
    found = roles(classes)
    assert found.playable
    assert set(found.hands.values()) == set(HANDS)


@pytest.mark.parametrize(
    ("classes", "missing", "strange"),
    [
        (("rock", "paper"), ("scissors",), ()),
        (("rock", "paper", "scissors", "lizard"), (), ("lizard",)),
        (("rock", "Rock", "paper", "scissors"), (), ("Rock",)),
        (("cat", "dog"), HANDS, ("cat", "dog")),
    ],
)
def test_an_unplayable_model_lists_missing_hands_and_strange_classes(
    classes: tuple[str, ...], missing: tuple[str, ...], strange: tuple[str, ...]
) -> None:
    found = roles(classes)
    assert not found.playable
    assert (found.missing, found.strange) == (missing, strange)


@pytest.fixture(scope="module")
def classifier(hands_run: Path) -> Classifier:
    return load(hands_run)


def row(classifier: Classifier, **probabilities: float) -> np.ndarray:
    return np.array([probabilities.get(name, 0) for name in classifier.classes], np.float32)


@pytest.mark.parametrize(
    ("probabilities", "state", "label"),
    [
        ({"rock": 0.9, "paper": 0.1}, "sure", "rock"),
        ({"rock": 0.5, "paper": 0.4, "nothing": 0.1}, "unsure", "rock"),
        ({"rock": 0.3, "paper": 0.3, "nothing": 0.4}, "unsure", "nothing"),
        ({"rock": 0.2, "paper": 0.1, "nothing": 0.7}, "nothing", "nothing"),
        ({"nothing": 1.0}, "nothing", "nothing"),
    ],
)
def test_the_threshold_decides_the_state_of_a_reading(
    classifier: Classifier, probabilities: dict[str, float], state: str, label: str
) -> None:
    found = apply_threshold(classifier, row(classifier, **probabilities))
    assert (found.state, found.label) == (state, label)


def test_each_hand_beats_exactly_one_other_hand() -> None:
    assert [(one, other) for one in HANDS for other in HANDS if beats(one, other)] == [
        ("rock", "scissors"),
        ("paper", "rock"),
        ("scissors", "paper"),
    ]


@given(histories)
def test_the_predicted_hand_probabilities_are_a_distribution(history: list[Round]) -> None:
    expected = hand_probabilities(history)
    assert set(expected) == set(HANDS)
    assert sum(expected.values()) == pytest.approx(1)
    assert min(expected.values()) > 0


@given(histories, st.integers(0, 2**32))
def test_the_fair_opponent_ignores_the_history(history: list[Round], seed: int) -> None:
    assert choose("fair", history, random.Random(seed)) == choose("fair", [], random.Random(seed))


def test_the_fair_opponent_draws_all_hands_equally_often() -> None:
    rng = random.Random(0)
    counts = Counter(choose("fair", [], rng) for _ in range(9_000))
    # 135 is three standard deviations of a hand's count, whose mean is a third of 9,000.
    assert all(abs(counts[hand] - 3_000) < 135 for hand in HANDS)


def advantage_over(habit: list[str], rounds: int) -> float:
    """Share of rounds that the learning opponent wins against this habit, minus those it loses."""
    rng, balance = random.Random(1), 0
    history: list[Round] = []
    for number in range(rounds):
        player = habit[number % len(habit)]
        assert player in HANDS
        machine = choose("learning", history, rng)
        balance += beats(machine, player) - beats(player, machine)
        history.append(Round(player, machine))
    return balance / rounds


@pytest.mark.parametrize(
    "habit", [["rock"], ["rock", "paper", "scissors"], ["rock", "rock", "scissors", "paper"]]
)
def test_the_learning_opponent_learns_a_habit(habit: list[str]) -> None:
    assert advantage_over(habit, 300) > 0.5


def test_the_learning_opponent_has_no_advantage_over_a_random_player() -> None:
    habit = random.Random(2).choices(HANDS, k=600)
    # Three standard deviations of the mean of 600 rounds.
    assert abs(advantage_over(list(habit), 600)) < 3 * (2 / 3 / 600) ** 0.5


def test_a_round_is_committed_to_and_revealed_once() -> None:
    rounds = Rounds(2)
    name, commitment = rounds.begin("paper")
    revealed = rounds.reveal(name)
    assert revealed is not None
    assert revealed.hand == "paper"
    assert hashlib.sha256(f"{revealed.nonce}:paper".encode()).hexdigest() == commitment
    assert rounds.reveal(name) is None


def test_two_commitments_to_the_same_hand_differ() -> None:
    rounds = Rounds(2)
    assert rounds.begin("rock")[1] != rounds.begin("rock")[1]


def test_the_oldest_open_round_is_dropped() -> None:
    rounds = Rounds(2)
    names = [rounds.begin("rock")[0] for _ in range(3)]
    assert [rounds.reveal(name) is None for name in names] == [True, False, False]


@pytest.mark.parametrize(
    ("bound", "host", "accepted"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "::1", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "192.168.0.7", False),
        ("127.0.0.1", "", False),
        ("0.0.0.0", "192.168.0.7", True),
        ("0.0.0.0", "evil.example", False),
        ("box.home", "box.home", True),
    ],
)
def test_which_host_names_the_server_accepts(bound: str, host: str, accepted: bool) -> None:
    assert Hosts(bound).accepts(host) is accepted


def test_both_languages_have_the_same_keys_and_placeholders() -> None:
    assert list(TEXTS) == ["en", "fr"]
    assert list(TEXTS["en"]) == list(TEXTS["fr"])
    for key, text in TEXTS["en"].items():
        values = [set(re.findall(r"\{(\w+)\}", table[key])) for table in TEXTS.values()]
        assert values[0] == values[1], key
        assert text.strip(), key


def test_every_text_is_used_and_every_used_text_exists() -> None:
    pages = "\n".join(path.read_text() for path in STATIC.iterdir() if path.suffix != ".jpg")
    source = pages.replace((STATIC / "strings.json").read_text(), "")
    used = set(re.findall(r'data-i18n(?:-label)?="([\w.]+)"', source))
    used |= set(re.findall(r'\b(?:t|put|say|sayWith|showSeal)\((?:[^"`)]*, )?"([\w.]+)"', source))
    assert len(used) > 60
    assert used <= set(TEXTS["en"])
    # Keys that the scripts put together from parts are matched by their prefix.
    prefixes = set(re.findall(r"`([\w.]+\.)\$\{", source))
    named = set(re.findall(r'"([\w.]+)"', source))
    unused = [
        key
        for key in TEXTS["en"]
        if key not in used | named and not any(key.startswith(prefix) for prefix in prefixes)
    ]
    assert not unused
