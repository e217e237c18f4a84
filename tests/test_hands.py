"""Rendered hands: anatomy, identities of the splits, pictures and folders."""

import dataclasses
import errno
import io
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chifoumi_jax.data import dataset
from chifoumi_jax.hands import GESTURES, NOTHING, WILD, render, write_hands
from chifoumi_jax.hands import write as write_module
from chifoumi_jax.hands.backdrop import families, sample_backdrop
from chifoumi_jax.hands.light import rigs
from chifoumi_jax.hands.people import SPLITS, people
from chifoumi_jax.hands.pose import LIMITS, Pose
from chifoumi_jax.hands.render import render_jpeg
from chifoumi_jax.hands.scene import Scene, sample_scene
from chifoumi_jax.hands.sheet import contact_sheet
from chifoumi_jax.hands.skeleton import FINGERS, HAND, THUMB
from tests.commands import environment
from tests.hands import write_small

SMALL = (96, 72)

seeds = st.integers(0, 2**31)
gestures = st.sampled_from(GESTURES)
splits = st.sampled_from(SPLITS)


def scene_of(gesture: str, split: str, seed: int, aspect: float = 1.0) -> Scene:
    return sample_scene(gesture, split, aspect, np.random.default_rng(seed))


def joint_angles(pose: Pose) -> list[tuple[str, float]]:
    flexion = ("knuckle", "middle_joint", "end_joint")
    thumb = ("thumb_away", "thumb_out", "thumb_roll", "thumb_knuckle", "thumb_end")
    named = [
        (name, angle) for row in pose.flexion for name, angle in zip(flexion, row, strict=True)
    ]
    named += [("spread", angle) for angle in pose.spread]
    named += list(zip(thumb, pose.thumb, strict=True))
    return named + list(zip(("wrist_flexion", "wrist_deviation"), pose.wrist, strict=True))


def test_contact_sheet_shows_every_picture(tmp_path: Path) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    pictures: list[Any] = [np.full((30, 40, 3), colour, np.uint8) for colour in colours[:2]]
    Image.new("RGB", (40, 30), colours[2]).save(tmp_path / "blue.png")
    sheet = contact_sheet([*pictures, tmp_path / "blue.png"], columns=2, tile=20)
    assert sheet.size == (40, 40)
    assert [sheet.getpixel(at) for at in ((10, 10), (30, 10), (10, 30))] == colours
    assert sheet.getpixel((30, 30)) == (255, 255, 255)


def reach(scene: Scene, bones: tuple[int, ...]) -> float:
    """Distance of a finger's tip from its knuckle, as a share of the length of its bones."""
    start, along = scene.bones.start[bones[0]], scene.bones.along[list(bones)]
    tip = scene.bones.start[bones[-1]] + along[-1]
    return float(np.linalg.norm(tip - start) / np.linalg.norm(along, axis=1).sum())


@settings(deadline=None, max_examples=60)
@given(gestures, splits, seeds)
def test_joint_angles_stay_within_the_limits(gesture: str, split: str, seed: int) -> None:
    for name, angle in joint_angles(scene_of(gesture, split, seed).pose):
        low, high = LIMITS[name]
        assert low <= angle <= high, name


@settings(deadline=None, max_examples=40)
@given(gestures, splits, seeds)
def test_gestures_straighten_the_right_fingers(gesture: str, split: str, seed: int) -> None:
    straight = {"paper": 4, "rock": 0, "scissors": 2}[gesture]
    scene = scene_of(gesture, split, seed)
    for k, finger in enumerate(FINGERS):
        assert (reach(scene, finger) > 0.9) if k < straight else (reach(scene, finger) < 0.6)


@settings(deadline=None, max_examples=40)
@given(gestures, splits, seeds)
def test_thumb_is_on_the_correct_side(gesture: str, split: str, seed: int) -> None:
    scene = scene_of(gesture, split, seed)
    across = scene.bones.start[FINGERS[0][0]] - scene.bones.start[FINGERS[3][0]]
    # The thumb of a right hand, palm to the viewer and fingers up, is on the viewer's right.
    expected = 1 if (scene.side == "right") == (scene.face == "palm") else -1
    assert np.sign(across[0]) == expected


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["rock", "scissors"]), splits, seeds)
def test_thumb_lies_on_the_curled_fingers(gesture: str, split: str, seed: int) -> None:
    bones = scene_of(gesture, split, seed).bones
    tip = bones.start[THUMB[1]] + bones.along[THUMB[1]]
    middle = [finger[1] for finger in FINGERS]
    offset = tip - bones.start[middle]
    along = bones.along[middle]
    share = np.clip((offset * along).sum(1) / (along**2).sum(1), 0, 1)[:, None]
    distances = np.linalg.norm(offset - share * along, axis=1)
    gaps = distances - bones.radius[middle] @ [1, 0.5, 0.25] - bones.radius[THUMB[1]].sum()
    # Flesh yields by a millimetre or two; a tip between two fingers touches neither fully.
    assert -0.2 < gaps.min() < 0.7


@settings(deadline=None, max_examples=40)
@given(gestures, splits, seeds, st.floats(0.5, 2.0))
def test_hand_is_within_the_frame(gesture: str, split: str, seed: int, aspect: float) -> None:
    scene = scene_of(gesture, split, seed, aspect)
    ends = np.concatenate([scene.bones.start, scene.bones.start + scene.bones.along])
    hand = ends.reshape(2, -1, 3)[:, list(HAND)]
    x, y = (hand[..., k] * scene.focal / -hand[..., 2] for k in range(2))
    assert np.abs(x).max() < 0.5 * aspect and np.abs(y).max() < 0.5


def test_both_hands_both_faces_and_bare_arms_occur() -> None:
    scenes = [scene_of("paper", "train", seed) for seed in range(40)]
    assert {(scene.side, scene.face) for scene in scenes} == {
        (side, face) for side in ("left", "right") for face in ("palm", "back")
    }
    assert {scene.cloth is None for scene in scenes} == {True, False}


@settings(deadline=None, max_examples=20)
@given(splits, seeds)
def test_gestures_of_one_seed_differ_in_the_pose_alone(split: str, seed: int) -> None:
    scenes = [scene_of(gesture, split, seed) for gesture in GESTURES]
    for name in ("person", "side", "face", "focal", "rig", "backdrop", "cloth", "exposure"):
        values = [getattr(scene, name) for scene in scenes]
        assert values[0] == values[1] == values[2], name


@pytest.mark.parametrize("split", SPLITS)
def test_each_split_spans_dark_to_light_skin(split: str) -> None:
    # Del Bino & Bernerd (2013): dark below -30 degrees, very light above 55.
    tones = [person.tone for person in people(split)]
    assert min(tones) < -60 and max(tones) > 60
    assert np.diff(tones).max() < 10
    assert all(person.palm_lab[0] > person.lab[0] for person in people(split))


def test_splits_share_no_identity() -> None:
    train, test = (people(split) for split in SPLITS)
    for field in dataclasses.fields(train[0]):
        values = [{getattr(person, field.name) for person in group} for group in (train, test)]
        assert not values[0] & values[1], field.name
    lights = [{rig.direction for rig in rigs(split)} for split in SPLITS]
    assert not lights[0] & lights[1]
    assert not set(families("train")) & set(families("test"))


@settings(deadline=None, max_examples=60)
@given(st.floats(25, 80), seeds)
def test_splits_share_no_backdrop_hue(skin: float, seed: int) -> None:
    for k, split in enumerate(SPLITS):
        lab = sample_backdrop(split, skin, np.random.default_rng(seed)).lab
        if np.hypot(*lab[1:]) > 1e-6:
            hue = np.degrees(np.arctan2(lab[2], lab[1]))
            assert np.isclose((hue - 15 * k + 15) % 30, 15, atol=1e-3)


@pytest.mark.parametrize("gesture", GESTURES)
def test_a_seed_always_gives_the_same_picture(gesture: str) -> None:
    first = render(gesture, seed=5, size=SMALL)
    assert first.shape == (72, 96, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, render(gesture, seed=5, size=SMALL))
    assert np.abs(first.astype(int) - render(gesture, seed=6, size=SMALL)).mean() > 2
    assert np.abs(first.astype(int) - render(gesture, seed=5, size=SMALL, split="test")).mean() > 2


def test_a_picture_does_not_depend_on_how_other_programs_are_compiled(tmp_path: Path) -> None:
    # One of the smallest pictures that these flags changed while the renderer still used them. This
    # process may have further flags, for example from `make test`.
    code = """
from pathlib import Path
from chifoumi_jax.hands.render import render_jpeg
Path("rock.jpg").write_bytes(render_jpeg("rock", seed=5, size=(160, 160), split="train"))
"""
    variables = environment(XLA_FLAGS="--xla_backend_optimization_level=0")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=variables)
    here = render_jpeg("rock", seed=5, size=(160, 160), split="train")
    assert (tmp_path / "rock.jpg").read_bytes() == here


@settings(deadline=None, max_examples=12)
@given(gestures, splits, seeds, st.integers(32, 130), st.integers(32, 130))
def test_pictures_of_any_size_can_be_drawn(
    gesture: str, split: str, seed: int, width: int, height: int
) -> None:
    picture = render(gesture, seed=seed, size=(width, height), split=split)
    assert picture.shape == (height, width, 3)
    assert picture.std() > 5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gesture": "lizard"}, "lizard"),
        ({"split": "valid"}, "valid"),
        ({"seed": -1}, "-1"),
        ({"size": (8, 256)}, "8"),
        ({"size": (256, 100_000)}, "100000"),
    ],
)
def test_errors_name_the_wrong_argument(change: dict[str, Any], named: str) -> None:
    arguments: dict[str, Any] = {
        "gesture": "rock",
        "seed": 0,
        "size": SMALL,
        "split": "train",
    } | change
    with pytest.raises(ValueError, match=named):
        render(**arguments)


@pytest.mark.parametrize("gesture", GESTURES)
def test_wild_hands_have_many_views_and_valid_joint_angles(gesture: str) -> None:
    seen, middles = [], []
    for seed in range(60):
        scene = sample_scene(gesture, "train", 1.0, np.random.default_rng(seed), WILD)
        for values, limits in zip(scene.pose.flexion.T, LIMITS.values(), strict=False):
            assert (values >= limits[0]).all() and (values <= limits[1]).all()
        # The direction out of the palm, in camera space.
        seen.append(scene.bones.frame[3])
        points = scene.bones.start[list(HAND)]
        middles.append(np.mean(points[:, :2] * scene.focal / -points[:, 2:], axis=0))
    facing = np.array(seen)[:, 2]
    # Oblique views as well as flat ones, from the palm and from the back.
    assert np.abs(facing).min() < 0.6 and facing.max() > 0.9 and facing.min() < -0.9
    assert np.abs(middles).max() < 0.5, "the hand's middle must be in the picture"


def test_wild_pictures_differ_in_contrast_and_are_reproducible() -> None:
    wild = [
        np.asarray(Image.open(io.BytesIO(picture(seed))), np.float32).std() for seed in range(12)
    ]
    assert max(wild) > 2 * min(wild)
    assert picture(3) == picture(3)


def test_hands_that_another_process_rendered_meanwhile_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def write_after_another_process(directory: Path, **options: Any) -> None:
        write_small(directory, images=6, test_images=3)
        write_hands(directory, **options)

    monkeypatch.setattr(dataset, "write_hands", write_after_another_process)
    folder = dataset.hands_folder(wild=3)
    assert len(list(folder.rglob("*.jpg"))) == 6
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    # An error is raised if the pictures cannot be rendered and no other process has done so.
    def fail_with_full_disk(directory: Path, **_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device", str(directory))

    monkeypatch.setattr(dataset, "write_hands", fail_with_full_disk)
    with pytest.raises(OSError, match="no space left"):
        dataset.hands_folder(wild=6)


def test_nothing_shows_the_background_without_the_hand() -> None:
    sizes = {"seed": 5, "size": (64, 64), "split": "train"}
    images = [
        np.asarray(Image.open(io.BytesIO(render_jpeg(name, **sizes))), np.int32)  # type: ignore[arg-type]
        for name in (NOTHING, "paper", "rock")
    ]
    # A hand is where the gestures differ from each other; there, `nothing` differs from both.
    hand = np.abs(images[1] - images[2]).max(axis=-1) > 40
    assert 0.02 < hand.mean() < 0.6
    for image in images[1:]:
        assert np.abs(images[0] - image).max(axis=-1)[hand].max() > 40
    corner = np.abs(images[0] - images[2])[:12, :12]
    assert corner.mean() < 12, "the backdrop must be the same"


def test_a_folder_with_nothing_has_four_classes(tmp_path: Path) -> None:
    folder = write_small(tmp_path / "hands", images=9, test_images=4, gestures=(*GESTURES, NOTHING))
    counts = Counter(path.parent.name for path in (folder / "test").rglob("*.jpg"))
    assert counts == dict.fromkeys((*GESTURES, NOTHING), 1)


def picture(seed: int) -> bytes:
    return render_jpeg("paper", seed=seed, size=(64, 64), split="train", variety=WILD)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_folder_is_balanced_varied_and_reproducible(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    folder = write_small(
        tmp_path / "new" / "hands",
        images=21,
        test_images=6,
        seed=3,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert folder == tmp_path / "new" / "hands"
    assert calls == [(k, 21) for k in range(1, 22)]
    files = files_of(folder)
    assert Counter(str(Path(name).parent) for name in files) == {
        **{f"train/{gesture}": 5 for gesture in GESTURES},
        **{f"test/{gesture}": 2 for gesture in GESTURES},
    }
    sizes = set()
    for content in files.values():
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == "JPEG" and image.mode == "RGB"
            image.load()
            sizes.add(image.size)
    assert len(sizes) >= 5
    assert all(48 <= max(size) <= 96 for size in sizes)
    assert len(set(files.values())) == 21
    assert files_of(write_small(tmp_path / "again", images=21, test_images=6, seed=3)) == files
    fewer = files_of(write_small(tmp_path / "fewer", images=9, test_images=3, seed=3))
    assert fewer.items() <= files.items()
    other = files_of(write_small(tmp_path / "other", images=9, test_images=3, seed=4))
    assert not set(other.values()) & set(files.values())


def test_default_number_of_pictures_is_that_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_module, "render_jpeg", lambda *args, **options: b"picture")
    folder = write_hands(tmp_path / "hands")
    count = Counter(Path(name).parts[0] for name in files_of(folder))
    assert count == {"train": 294, "test": 52}
    assert len(list((folder / "train" / "rock").iterdir())) == 98


@pytest.mark.parametrize(
    "numbers",
    [
        {"images": 0},
        {"images": -3},
        {"images": 5, "test_images": 3},
        {"images": 10, "test_images": 2},
        {"images": 10, "test_images": -1},
        {"seed": -1},
    ],
)
def test_wrong_numbers_are_refused(tmp_path: Path, numbers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"give --images 6 --test-images 3|seed"):
        write_hands(tmp_path / "hands", **numbers)
    assert not list(tmp_path.iterdir())


def test_occupied_folder_is_refused_and_not_changed(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    for occupied in (folder, folder / "mine.txt"):
        with pytest.raises(FileExistsError, match="choose another"):
            write_hands(occupied)
    assert files_of(tmp_path) == {"photos/mine.txt": b"mine"}


def test_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_module, "render_jpeg", lambda *args, **options: b"picture")
    folder = tmp_path / "empty"
    folder.mkdir()
    write_hands(folder, images=6, test_images=3)
    assert len(files_of(folder)) == 6


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_failure_midway_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    monkeypatch.setattr(write_module, "render_jpeg", lambda *args, **options: b"picture")

    def fail(done: int, total: int) -> None:
        if done == 7:
            assert any(tmp_path.rglob("*.jpg"))
            raise failure

    with pytest.raises(type(failure)):
        write_hands(tmp_path / "hands", images=20, test_images=6, progress=fail)
    assert not list(tmp_path.iterdir())


def test_failed_picture_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(gesture: str, **options: object) -> bytes:
        raise MemoryError(gesture)

    monkeypatch.setattr(write_module, "render_jpeg", fail)
    with pytest.raises(MemoryError):
        write_hands(tmp_path / "hands", images=20, test_images=6)
    assert not list(tmp_path.iterdir())
