"""The game's rules without a server: names, readings, the opponent, the seal, the texts."""

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

from chifoumi_jax.play.game.commitment import Rounds
from chifoumi_jax.play.game.opponent import Round, beats, choose, expect
from chifoumi_jax.play.game.roles import HANDS, roles
from chifoumi_jax.play.http import assets
from chifoumi_jax.play.http.guard import Hosts
from chifoumi_jax.play.reading import read
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.load import load

STATIC = Path(assets.__file__).parent / "static"
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
def test_a_model_of_something_else_says_why(
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
def test_reading(
    classifier: Classifier, probabilities: dict[str, float], state: str, label: str
) -> None:
    found = read(classifier, row(classifier, **probabilities))
    assert (found.state, found.label) == (state, label)


def test_each_hand_beats_one() -> None:
    assert [(one, other) for one in HANDS for other in HANDS if beats(one, other)] == [
        ("rock", "scissors"),
        ("paper", "rock"),
        ("scissors", "paper"),
    ]


@given(histories)
def test_what_is_expected_is_a_distribution(history: list[Round]) -> None:
    expected = expect(history)
    assert set(expected) == set(HANDS)
    assert sum(expected.values()) == pytest.approx(1)
    assert min(expected.values()) > 0


@given(histories, st.integers(0, 2**32))
def test_the_fair_opponent_does_not_look(history: list[Round], seed: int) -> None:
    assert choose("fair", history, random.Random(seed)) == choose("fair", [], random.Random(seed))


def test_the_fair_opponent_is_fair() -> None:
    rng = random.Random(0)
    counts = Counter(choose("fair", [], rng) for _ in range(9_000))
    # Three standard deviations of a third of 9,000.
    assert all(abs(counts[hand] - 3_000) < 135 for hand in HANDS)


def play(habit: list[str], rounds: int) -> float:
    """How often the learning opponent beats a player of this habit, less how often it loses."""
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
    assert play(habit, 300) > 0.5


def test_the_learning_opponent_gains_nothing_from_chance() -> None:
    habit = random.Random(2).choices(HANDS, k=600)
    # Three standard deviations.
    assert abs(play(list(habit), 600)) < 3 * (2 / 3 / 600) ** 0.5


def test_a_round_is_sealed_and_opened_once() -> None:
    rounds = Rounds(2)
    name, commitment = rounds.begin("paper")
    opened = rounds.reveal(name)
    assert opened is not None
    assert opened.hand == "paper"
    assert hashlib.sha256(f"{opened.nonce}:paper".encode()).hexdigest() == commitment
    assert rounds.reveal(name) is None


def test_two_seals_of_a_hand_differ() -> None:
    rounds = Rounds(2)
    assert rounds.begin("rock")[1] != rounds.begin("rock")[1]


def test_the_oldest_round_is_forgotten() -> None:
    rounds = Rounds(2)
    names = [rounds.begin("rock")[0] for _ in range(3)]
    assert [rounds.reveal(name) is None for name in names] == [True, False, False]


@pytest.mark.parametrize(
    ("bound", "host", "known"),
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
def test_under_which_names_the_server_answers(bound: str, host: str, known: bool) -> None:
    assert Hosts(bound).know(host) is known


def test_both_languages_say_the_same_things() -> None:
    assert list(TEXTS) == ["en", "fr"]
    assert list(TEXTS["en"]) == list(TEXTS["fr"])
    for key, text in TEXTS["en"].items():
        values = [set(re.findall(r"\{(\w+)\}", table[key])) for table in TEXTS.values()]
        assert values[0] == values[1], key
        assert text.strip(), key


def test_every_text_is_used_and_every_used_text_is_there() -> None:
    pages = "\n".join(path.read_text() for path in STATIC.iterdir() if path.suffix != ".jpg")
    source = pages.replace((STATIC / "strings.json").read_text(), "")
    asked = set(re.findall(r'data-i18n(?:-label)?="([\w.]+)"', source))
    asked |= set(re.findall(r'\b(?:t|put|say|sayWith|showSeal)\((?:[^"`)]*, )?"([\w.]+)"', source))
    assert len(asked) > 60
    assert asked <= set(TEXTS["en"])
    # What is put together from parts is known by its beginning.
    begun = set(re.findall(r"`([\w.]+\.)\$\{", source))
    named = set(re.findall(r'"([\w.]+)"', source))
    unused = [
        key
        for key in TEXTS["en"]
        if key not in asked | named and not any(key.startswith(part) for part in begun)
    ]
    assert not unused
