"""Metrics of runs on labelled photos, their comparison, and the HTML report."""

import base64
import html.parser
import io
import itertools
import json
import math
import os
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

from chifoumi_jax import evaluate, fit, load, recipes
from chifoumi_jax.builtin import builtin_run
from chifoumi_jax.data.problems import DataError
from chifoumi_jax.metrics import confusion_matrix
from chifoumi_jax.reports import mcnemar, metrics, require_free
from chifoumi_jax.reports.gallery import MAX_SIDE, correct_indices, mistake_indices
from chifoumi_jax.reports.page import short_names
from chifoumi_jax.reports.report import Report
from chifoumi_jax.training.calibration import Calibration, expected_calibration_error, reliability
from chifoumi_jax.training.run import RunError, write_config
from tests.conftest import STRIPES, write_photos

# Class names, which take the places of paper, rock and scissors in this order.
HOSTILE = ("<img src=x onerror=alert(1)>", "a\"b'&amp;", "scis\x1b[31msors\u202e")
COUNTS = st.integers(0, 9)
SCRIPT = "<script>alert(1)<\u2044script>"


def test_metrics_of_known_answers() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    probabilities = np.array(
        [
            *([0.9, 0.1, 0.0, 0.0], [0.4, 0.6, 0.0, 0.0], [0.9, 0.1, 0.0, 0.0]),
            *([0.1, 0.9, 0.0, 0.0], [0.7, 0.3, 0.0, 0.0], [0.2, 0.5, 0.3, 0.0]),
        ],
        np.float32,
    )
    rows = metrics.per_class(confusion_matrix(labels, probabilities), ("a", "b", "c", "d"))
    assert rows[0] == pytest.approx(
        {"class": "a", "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "photos": 3}
    )
    assert rows[1] == pytest.approx(
        {"class": "b", "precision": 1 / 3, "recall": 1 / 2, "f1": 2 / 5, "photos": 2}
    )
    # The class c is never predicted; the class d has no photo either.
    assert rows[2] == {"class": "c", "precision": None, "recall": 0, "f1": 0, "photos": 1}
    assert rows[3] == {"class": "d", "precision": None, "recall": None, "f1": None, "photos": 0}
    unsure = metrics.unsure(labels, probabilities, 0.65)
    assert (unsure["photos"], unsure["rest"], unsure["rest_correct"]) == (2, 4, 3)
    assert unsure["share"] == pytest.approx(1 / 3) and unsure["rest_accuracy"] == 0.75
    assert metrics.unsure(labels, probabilities, 0.95)["rest_accuracy"] is None


@given(hnp.arrays(np.int64, st.tuples(st.integers(2, 5)).map(lambda n: n * 2), elements=COUNTS))
def test_metrics_of_classes_equal_those_of_scikit_learn(confusion: np.ndarray) -> None:
    classes = range(len(confusion))
    labels, predicted = (
        np.repeat(side.ravel(), confusion.ravel()) for side in np.indices(confusion.shape)
    )
    assume(len(labels))
    expected = precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=np.nan
    )
    found = metrics.per_class(confusion, list(map(str, classes)))
    for name, values in zip(("precision", "recall", "f1", "photos"), expected, strict=True):
        ours = [math.nan if row[name] is None else row[name] for row in found]
        # One rounding of each quotient.
        np.testing.assert_allclose(ours, values, rtol=1e-15)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 5), st.integers(1, 12))
def test_bins_cover_every_answer_and_give_the_calibration_error(
    seed: int, images: int, classes: int, bins: int
) -> None:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(classes), images).astype(np.float32)
    labels = random.integers(0, classes, images)
    found = reliability(labels, probabilities, bins)
    assert sum(one.photos for one in found) == images
    for one in found:
        assert math.isnan(one.right) == (not one.photos)
        if one.photos:
            assert one.low - 1e-6 <= one.stated <= one.high + 1e-6
    stated = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    bin_indices = np.minimum((probabilities.max(axis=1) * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_indices, stated - correct, minlength=bins)
    error = expected_calibration_error(labels, probabilities, bins)
    assert error == pytest.approx(np.abs(gaps).sum() / images, abs=1e-6)


def test_mcnemar_counts_only_photos_on_which_the_runs_differ() -> None:
    first = np.array([1] * 10 + [1] * 8 + [0] * 1 + [0] * 4, bool)
    second = np.array([1] * 10 + [0] * 8 + [1] * 1 + [0] * 4, bool)
    pair = mcnemar.mcnemar(first, second)
    assert pair[:4] == (10, 8, 1, 4)
    # The probability that 0, 1, 8 or 9 of 9 coins show heads.
    assert pair.p == pytest.approx((1 + 9 + 9 + 1) / 2**9)
    assert mcnemar.mcnemar(second, first).p == pair.p
    assert mcnemar.mcnemar(first, first).p == 1


def test_p_values_of_several_tests_are_holm_adjusted() -> None:
    assert mcnemar.holm_adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert mcnemar.holm_adjusted([0.9, 0.8]) == [1.0, 1.0]
    assert mcnemar.holm_adjusted([]) == []
    three = np.eye(3, dtype=bool)
    pairs = mcnemar.compare(["a", "b", "c"], list(three))
    assert [(pair["first"], pair["second"]) for pair in pairs] == [
        *(("a", "b"), ("a", "c"), ("b", "c"))
    ]


def test_short_names_distinguish_the_runs() -> None:
    assert short_names(["x/cnn-1", "y/cnn-2"]) == {"x/cnn-1": "cnn-1", "y/cnn-2": "cnn-2"}
    assert short_names(["x/a/r", "y/a/r"]) == {"x/a/r": "x/a/r", "y/a/r": "y/a/r"}
    assert short_names(["a", "x/a"])["x/a"] == "x/a"
    assert short_names(["runs/cnn-1"]) == {"runs/cnn-1": "cnn-1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with malicious class names and file names, and with metadata in the files."""
    root = tmp_path_factory.mktemp("hostile")
    for split, count in (("train", 12), ("test", 5)):
        write_photos(root / split, count, seed=count)
        for old, new in zip(STRIPES, HOSTILE, strict=True):
            (root / split / old).rename(root / split / new)
    first, second, third = (root / "test" / name for name in HOSTILE)
    (first / "000.png").rename(first / f"{SCRIPT}.png")
    os.rename(  # noqa: PTH104 - a path of bytes
        second / "000.png", os.fsencode(second) + b"/\xff.png"
    )
    # Upside down; with a GPS position, a comment and a colour profile; larger than in the report.
    image = Image.open(third / "000.png").convert("RGB").resize((800, 500))
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0)}
    exif[0x010F] = "SECRET-CAMERA"
    (third / "000.png").unlink()
    image.save(third / "0.jpg", exif=exif, comment=b"SECRET-COMMENT", icc_profile=b"SECRET-ICC" * 9)
    return root


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A CNN that was trained for two epochs only, and a perceptron."""
    changes = {"data": folder, "runs": tmp_path_factory.mktemp("runs"), "epochs": 2}
    network = recipes.cnn.replace(image_size=24, learning_rate=1e-3, **changes)
    perceptron = recipes.study_mlp.replace(**changes)
    return fit(network, quiet=True).directory, fit(perceptron, quiet=True).directory


@pytest.fixture(scope="module")
def report(runs: tuple[Path, Path]) -> Report:
    return evaluate(runs)


class Page(html.parser.HTMLParser):
    """The tags and the text of a page, as a browser parses them."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "img", "rect", "circle", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = report.write(tmp_path_factory.mktemp("out") / "new" / "report")
    return Page((out / "report.html").read_text(encoding="utf-8"))


def test_page_has_no_script_and_loads_nothing(page: Page) -> None:
    assert not page.open
    assert {tag for tag, _ in page.tags}.isdisjoint(
        {"script", "iframe", "link", "object", "embed", "form", "base"}
    )
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            if name in attributes:
                allowed = "data:image/jpeg;base64," if tag == "img" else "#"
                assert attributes[name].startswith(allowed)
    (policy,) = [one["content"] for one in page.all("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'")


def test_page_shows_malicious_names_as_text(page: Page) -> None:
    for name in (HOSTILE[0], HOSTILE[1], r"scis\x1b[31msors\u202e", SCRIPT, r"\udcff.png"):
        assert name in page.text or any(name in one["alt"] for one in page.all("img"))
    assert "\x1b" not in page.text and "\u202e" not in page.text


def test_page_is_readable_with_a_screen_reader(page: Page) -> None:
    (language,) = page.all("html")
    assert language["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(one["alt"] for one in page.all("img"))
    assert all(one["scope"] in ("row", "col") for one in page.all("th"))
    assert all(one["aria-label"] for one in page.all("svg"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {one["href"] for one in page.all("a")} <= {f"#{one}" for one in ids}


def test_page_shows_small_photos_without_metadata(page: Page, report: Report) -> None:
    network, perceptron = report.evaluated
    evaluated = (network, perceptron)
    counts = [len(mistake_indices(one)) + len(correct_indices(one)) for one in evaluated]
    pictures = page.all("img")
    # A perceptron has no heat maps.
    assert len(pictures) == 2 * counts[0] + counts[1] > 0
    assert "no heat map" in page.text
    large = 0
    for one in pictures:
        content = base64.b64decode(one["src"].split(",")[1])
        assert b"SECRET" not in content and b"Exif" not in content
        image = Image.open(io.BytesIO(content))
        assert image.format == "JPEG" and max(image.size) <= MAX_SIDE
        assert image.size == (int(one["width"]), int(one["height"]))
        large += max(image.size) == MAX_SIDE
    assert large > 0


def test_the_page_can_leave_out_photos(report: Report, tmp_path: Path) -> None:
    out = report.write(tmp_path / "report", images=False)
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "data:image" not in text.replace("img-src data:", "")
    assert "left out" in text
    assert r"\udcff.png" in text


def test_report_json_agrees_with_the_training(
    report: Report, tmp_path: Path, runs: tuple[Path, Path]
) -> None:
    stored = json.loads((report.write(tmp_path / "report") / "report.json").read_bytes())
    assert stored["format"] == 1
    for directory, run, evaluated in zip(runs, stored["runs"], report.evaluated, strict=True):
        results = json.loads((directory / "results.json").read_bytes())
        assert run["confusion"] == results["test_confusion"]
        assert run["accuracy"] == pytest.approx(results["test_accuracy"])
        mistakes = (evaluated.predicted != evaluated.labels).sum()
        assert run["correct"] + mistakes == run["images"] == 15
        assert len(run["mistakes"]) == run["images"] - run["correct"]
        true_probabilities = [one["of_true"] for one in run["mistakes"]]
        assert true_probabilities == sorted(true_probabilities)
    (pair,) = stored["comparisons"]
    assert sum(pair[name] for name in ("both", "only_first", "only_second", "neither")) == 15
    assert pair["both"] + pair["only_first"] == stored["runs"][0]["correct"]
    files = [photo["file"] for photo in stored["photos"]]
    assert os.fsdecode(os.fsencode(f"test/{HOSTILE[1]}/") + b"\xff.png") in files
    for index, photo in enumerate(stored["photos"]):
        rows = np.array(photo["probabilities"])
        assert rows.shape == (2, 3)
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_array_equal(rows[0], report.evaluated[0].probabilities[index])


def test_the_runs_calibration_is_used(runs: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs[0], copy)
    (copy / "calibration.json").write_text('{"temperature": 3, "threshold": 0.5, "photos": 40}')
    original, calibrated = evaluate(runs[0]), evaluate([copy])
    raw = original.evaluated[0].outcome.probabilities
    expected = Calibration(3.0, 0.5, 40).apply_temperature(raw)
    np.testing.assert_allclose(calibrated.evaluated[0].probabilities, expected, atol=1e-6)
    numbers = calibrated.runs[0]
    assert numbers["loss"] == original.runs[0]["loss"]
    assert numbers["calibration"]["measured_on"] == 40
    assert numbers["unsure"]["photos"] == (expected.max(axis=1) < 0.5).sum()
    text = (calibrated.write() / "report.html").read_text(encoding="utf-8")
    assert "40 photos that the run was not trained on" in text


def test_a_run_that_diverged_is_refused(runs: tuple[Path, Path], folder: Path) -> None:
    classifier = load(runs[1])
    classifier.weights = jax.tree.map(lambda leaf: leaf * np.nan, classifier.weights)
    with pytest.raises(RunError, match="diverged"):
        classifier.predict(sorted((folder / "train").rglob("*.png"))[:3])


def test_a_report_overwrites_nothing(report: Report, runs: tuple[Path, Path]) -> None:
    first, second = report.write(images=False), report.write(images=False)
    assert (first.parent, first.name) == (runs[0], "evaluation")
    assert second.name == "evaluation-2"
    with pytest.raises(RunError, match=r"report\.html exists already"):
        report.write(first)
    with pytest.raises(RunError, match="is a file"):
        report.write(first / "report.json")


def test_a_report_is_never_written_into_the_photos_folder(report: Report, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(RunError, match="never written to"):
        report.write(folder / "test" / "report")
    assert sorted(folder.rglob("*")) == before
    require_free(folder / "run", Path("elsewhere"), folder)


def test_the_folder_of_the_runs_own_photos_is_checked_before_evaluation(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_config(tmp_path / "run", recipes.cnn.replace(data=tmp_path / "photos"))
    with pytest.raises(RunError, match="never written to"):
        require_free(tmp_path / "run", tmp_path / "photos" / "out", None)
    require_free(tmp_path / "run", tmp_path / "out", None)


def test_a_deleted_photo_is_still_listed(
    runs: tuple[Path, Path], folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "photos"
    shutil.copytree(folder / "test", copy)
    report = evaluate(runs[0], data=copy)
    shutil.rmtree(copy)
    text = (report.write(tmp_path / "report") / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" not in text and ".png" in text


def test_the_error_says_why_a_path_is_not_a_run(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"absent does not exist: check the path"):
        evaluate(tmp_path / "absent")
    with pytest.raises(RunError, match=r"metrics\.csv is a file: name a run's folder"):
        evaluate(runs[0] / "metrics.csv")
    inside = re.escape(f"such as {runs[0].parent}/")
    with pytest.raises(RunError, match=f"no config.json; name a run inside it, {inside}"):
        evaluate(runs[0].parent)
    with pytest.raises(RunError, match=r"no config\.json; check the path"):
        evaluate(tmp_path)


def test_a_huge_batch_size_is_limited_to_the_number_of_photos(runs: tuple[Path, Path]) -> None:
    expected = evaluate(runs[0]).runs[0]
    assert evaluate(runs[0], batch_size=10**9).runs[0]["confusion"] == expected["confusion"]


def test_runs_that_cannot_be_compared_are_refused(
    runs: tuple[Path, Path], photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="named twice"):
        evaluate([runs[0], runs[0] / ".." / runs[0].name])
    with pytest.raises(RunError, match="no run"):
        evaluate([])
    with pytest.raises(DataError):
        evaluate(runs, data=photos)
    other = tmp_path / "other"
    shutil.copytree(runs[1], other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"classes": ["cup", "rock"]}))
    with pytest.raises(RunError, match=r"cannot be compared, because .* the second has cup, rock"):
        evaluate([runs[0], other])


def test_runs_with_different_classes_are_compared_on_photos_of_the_shared_classes(
    photos: Path, tmp_path: Path
) -> None:
    recipe = recipes.study_mlp.replace(data=photos, runs=tmp_path / "runs", epochs=1)
    two_runs = [fit(recipe, quiet=True).directory, builtin_run()]
    report = evaluate(two_runs, data=photos)
    assert [one["images"] for one in report.runs] == [12, 12]
    assert report.runs[1]["classes"] == ["nothing", "paper", "rock", "scissors"]
    (pair,) = report.comparisons
    assert pair["both"] + pair["only_first"] == report.runs[0]["correct"]
    assert pair["both"] + pair["only_second"] == report.runs[1]["correct"]
    assert "McNemar" in (report.write(tmp_path / "report") / "report.html").read_text("utf-8")
    more = tmp_path / "more"
    shutil.copytree(photos / "test", more)
    shutil.copytree(more / "rock", more / "nothing")
    with pytest.raises(RunError, match=r"a folder with only photos of paper, rock, scissors"):
        evaluate(two_runs, data=more)


def test_counts_the_photos_that_the_run_was_trained_on(tmp_path: Path) -> None:
    flat = write_photos(tmp_path / "flat", 8)
    run = fit(
        recipes.study_mlp.replace(data=flat, runs=tmp_path / "runs", epochs=1), quiet=True
    ).directory
    on_test, on_all = (evaluate(run, data=data) for data in (None, flat))
    assert on_test.runs[0]["learnt"] == 0
    learnt = on_all.runs[0]["learnt"]
    assert learnt == on_all.runs[0]["images"] - on_test.runs[0]["images"] > 0
    page = (on_all.write(tmp_path / "report") / "report.html").read_text(encoding="utf-8")
    assert f"trained or validated on {learnt} of these" in page
    (run / "photos.json").unlink()
    assert evaluate(run, data=flat).runs[0]["learnt"] is None
    (run / "photos.json").write_text("[1]")
    with pytest.raises(RunError, match=r"photos\.json cannot be read"):
        evaluate(run, data=flat)


def test_classes_without_photos_are_not_reported_as_problems(tmp_path: Path) -> None:
    few = write_photos(tmp_path / "few", 3)
    shutil.rmtree(few / "rock")
    numbers = evaluate(builtin_run(), data=few).runs[0]
    assert not [line for line in numbers["problems"] if "nothing" in line or "rock" in line]
