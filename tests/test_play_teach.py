"""Teaching: class names, pictures, saved photos, training."""

import base64
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from chifoumi_jax.data.folder.scanning import scan
from chifoumi_jax.play.http.errors import Refusal
from chifoumi_jax.play.http.limits import Limits
from chifoumi_jax.play.service import Service
from chifoumi_jax.play.teach.classes import ClassStore, Frame, TaughtClass
from chifoumi_jax.play.teach.save import save_photos
from tests.hands import hand_or_nothing
from tests.playing import Address, jpeg, serving

LIMITS = Limits(classes=3, frames=20)


@pytest.mark.parametrize("name", ["rock", "Pierre", "éventail", "l'ours", "ok 2", "グー", "a" * 40])
def test_a_good_name_is_accepted_without_outer_spaces(name: str) -> None:
    classes = ClassStore(LIMITS)
    number = classes.add_class(f"  {name} ")
    assert classes.snapshot()[number].name == name


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "../up", "a/b", "a\\b", "a\0b", ".hidden", "a.", "-x", "_x"),
        *("a" * 41, "train", "TEST", "valid", "two\nlines", "\u202erock"),
    ],
)
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(Refusal) as refused:
        ClassStore(LIMITS).add_class(name)
    assert refused.value.code == "bad-name"


@given(st.text(max_size=50))
def test_every_accepted_name_is_a_plain_folder_name(name: str) -> None:
    classes = ClassStore(LIMITS)
    try:
        number = classes.add_class(name)
    except Refusal:
        return
    found = classes.snapshot()[number].name
    assert Path("/root", found).parent == Path("/root")
    assert Path("/root", found).resolve() == Path("/root", found)


def test_two_names_must_differ_in_more_than_case() -> None:
    classes = ClassStore(LIMITS)
    first = classes.add_class("Rock")
    with pytest.raises(Refusal, match="another class"):
        classes.add_class("rock")
    classes.rename(first, "ROCK")
    classes.remove(first)
    classes.add_class("rock")


def test_the_numbers_of_classes_and_pictures_are_limited() -> None:
    classes = ClassStore(LIMITS)
    numbers = [classes.add_class(f"class {number}") for number in range(3)]
    with pytest.raises(Refusal, match="3 classes"):
        classes.add_class("one more")
    for hold in range(20):
        classes.add_frame(numbers[0], Frame(b"", hold))
    with pytest.raises(Refusal, match="20 pictures"):
        classes.add_frame(numbers[0], Frame(b"", 0))
    classes.clear(numbers[0])
    assert classes.add_frame(numbers[0], Frame(b"", 0)) == 1


def test_photos_are_saved_in_separate_folders_and_can_be_trained_on(tmp_path: Path) -> None:
    classes = [
        TaughtClass(
            name,
            tuple(Frame(jpeg(hand_or_nothing("nothing", 10 * k + i)), i // 2) for i in range(6)),
        )
        for k, name in enumerate(("one", "two"))
    ]
    first, second = save_photos(classes, tmp_path), save_photos(classes, tmp_path)
    assert [saved.photos.name for saved in (first, second)] == ["teach-photos-1", "teach-photos-2"]
    found = scan(first.photos, groups=first.groups)
    assert found.classes == ("one", "two")
    assert not found.problems
    assert len(found.train) + len(found.test) == 12
    # Each hold recorded 2 pictures, and both are in the same split.
    assert len(found.test) % 2 == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.fixture(scope="module")
def served(
    hands_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Address, Service, Path]]:
    runs = tmp_path_factory.mktemp("taught") / "runs"
    with serving(hands_run, runs, limits=LIMITS) as (server, service):
        yield server, service, runs


def teach(server: Address, name: str, gesture: str, seeds: range) -> int:
    answer = server.ask("POST", "/api/teach/classes", {"name": name})
    assert answer.status == 201, answer.content
    number = answer.value["id"]
    for seed in seeds:
        content = jpeg(hand_or_nothing(gesture, seed, 128))
        path = f"/api/teach/classes/{number}/frames?hold={seed // 4}"
        assert server.ask("POST", path, content).status == 201
    return int(number)


def read_label(server: Address, gesture: str) -> str:
    content = jpeg(hand_or_nothing(gesture, 40, 128))
    return str(server.ask("POST", "/api/teach/frame", content).value["label"])


def wait(server: Address, until: Callable[[dict[str, object]], bool]) -> dict[str, object]:
    deadline = time.monotonic() + 240
    while True:
        job = server.ask("GET", "/api/teach").value["job"]
        if until(job):
            return dict(job)
        assert time.monotonic() < deadline, job
        time.sleep(0.1)


def test_teach_from_the_first_picture_to_a_saved_run(
    served: tuple[Address, Service, Path], tmp_path: Path
) -> None:
    server, service, runs = served
    first = teach(server, "fist", "rock", range(16))
    assert server.ask("POST", "/api/teach/learn", {"how": "quick"}).error == "too-few"
    teach(server, "rien", "nothing", range(16))

    # The server keeps only a picture's pixels, and writes no file before the training starts.
    hand = hand_or_nothing("rock", 16, 128)
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "a secret place"
    exif[ExifTags.Base.Orientation] = 3
    file = io.BytesIO()
    hand.save(file, "JPEG", exif=exif, comment=b"another secret")
    path = f"/api/teach/classes/{first}/frames"
    assert server.ask("POST", path, file.getvalue()).value["frames"] == 17
    kept = service.classes.snapshot()[first].frames[-1].jpeg
    shown = server.ask("GET", path).value["pictures"]
    assert len(shown) == 6
    assert shown[-1] == "data:image/jpeg;base64," + base64.b64encode(kept).decode()
    assert b"secret" not in kept
    with Image.open(io.BytesIO(kept)) as image:
        turned = np.asarray(hand.rotate(180)).astype(int)
        assert np.abs(np.asarray(image).astype(int) - turned).mean() < 8
    assert not runs.exists()

    begun = server.ask("POST", "/api/teach/learn", {"how": "cnn"})
    assert begun.status == 202, begun.content
    assert server.ask("POST", "/api/teach/learn", {"how": "cnn"}).error == "learning"
    steps = wait(server, lambda job: job["step"] != 0)
    assert steps["steps"]
    # The server still answers while it trains.
    assert server.ask("GET", "/").status == 200
    job = wait(server, lambda job: job["state"] != "running")
    assert job["state"] == "done", job
    assert (runs / "teach-1" / "results.json").exists()
    assert len(list((runs / "teach-photos-1" / "fist").iterdir())) == 17
    assert not [
        path for path in (runs / "teach-photos-1").rglob("*.jpg") if b"secret" in path.read_bytes()
    ]
    assert read_label(server, "rock") == "fist"
    assert read_label(server, "nothing") == "rien"
    # A quick training on the pretrained network gives the same answers, in memory only.
    assert server.ask("POST", "/api/teach/learn", {"how": "quick"}).status == 202
    assert wait(server, lambda job: job["state"] != "running")["state"] == "done"
    assert server.ask("GET", "/api/teach").value["taught"]["saved"] is False
    assert read_label(server, "rock") == "fist"
    assert read_label(server, "nothing") == "rien"

    # The other pages keep the given model until the user selects the taught one.
    assert server.ask("GET", "/api/model").value["name"] == "cnn-1"
    used = server.ask("POST", "/api/model", {"source": "taught"}).value
    assert (used["name"], used["playable"]) == ("quick", False)
    assert used["missing"] == ["paper", "scissors"]
    server.ask("POST", "/api/model", {"source": "given"})


def test_a_running_training_can_be_stopped(served: tuple[Address, Service, Path]) -> None:
    server, service, _ = served
    if len(service.classes.snapshot()) < 2:
        teach(server, "fist", "rock", range(8))
        teach(server, "rien", "nothing", range(8))
    assert server.ask("POST", "/api/teach/learn", {"how": "cnn"}).status == 202
    wait(server, lambda job: job["photos"] is not None)
    assert server.ask("POST", "/api/teach/stop", {}).status == 200
    job = wait(server, lambda job: job["state"] != "running")
    assert job["state"] == "stopped"
    assert server.ask("GET", "/api/health").status == 200
