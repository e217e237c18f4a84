"""The commands as a user types them, with right and with wrong arguments."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chifoumi_jax.training import calibration
from tests.commands import QUICK, chifoumi
from tests.conftest import write_photos


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = chifoumi(
        *("train", "--data", photos, *QUICK, "--epochs", "10"),
        cwd=tmp_path_factory.mktemp("work"),
    )
    assert done.returncode == 0, done.stderr
    assert "Accuracy on test photos" in done.stderr
    directory = Path(done.args[0]).parent if not done.stdout else Path(done.stdout.strip())
    return tmp_path_factory.getbasetemp() / "work0" / directory


def test_train_prints_the_folder_of_the_run(run: Path) -> None:
    assert run.name == "cnn-1"
    assert (run / "results.json").exists()


@pytest.mark.parametrize("command", ["train", "check", "evaluate", "predict", "export", "play"])
def test_help_shows_the_type_of_optional_arguments(command: str) -> None:
    done = chifoumi(command, "--help")
    assert done.returncode == 0, done.stderr
    # The help does not show `None`, by which a type says that an argument is optional.
    assert "None}" not in done.stdout and "[[" not in done.stdout
    assert ("RUN" in done.stdout.splitlines()[0]) == (command not in {"train", "check"})


def test_predict_prints_one_line_per_photo(run: Path, photos: Path) -> None:
    files = sorted((photos / "test").glob("*/000.png"))
    done = chifoumi("predict", run, *files)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if "000.png" in line]
    assert [line[1] for line in lines] == ["paper", "rock", "scissors"]
    assert [line[0] for line in lines] == list(map(str, files))


def test_predict_continues_after_a_bad_file(run: Path, photos: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff")
    good = photos / "test" / "rock" / "001.png"
    done = chifoumi("predict", run, bad, tmp_path / "absent.png", good, "--json")
    assert done.returncode == 1
    answers = json.loads(done.stdout)
    assert [answer.get("label") for answer in answers] == [None, None, "rock"]
    assert sum(answers[2]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert str(bad) in done.stderr
    assert "Traceback" not in done.stderr


def test_predict_a_folder_as_csv_with_heat_maps(run: Path, photos: Path, tmp_path: Path) -> None:
    heat = tmp_path / "heat"
    arguments = ("predict", run, photos / "test", tmp_path / "none*", "--format", "csv")
    done = chifoumi(*arguments, "--explain", heat)
    assert done.returncode == 1
    assert "none* matches no picture" in done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    files = [str(path) for path in sorted((photos / "test").rglob("*.png"))]
    assert [row["file"] for row in rows] == [*files, str(tmp_path / "none*")]
    assert rows[-1]["error"] and not rows[-1]["label"]
    # Three folders have photos of the same name, and each photo gets its own heat map.
    assert len({row["explanation"] for row in rows[:-1]}) == len(files)
    threshold = calibration.read(run).threshold
    for row in rows[:-1]:
        assert row["label"] == Path(row["file"]).parent.name
        assert row["unsure"] == ("yes" if float(row["probability"]) < threshold else "no")
        assert float(row["probability"]) == float(row[f"p_{row['label']}"])
        with Image.open(row["explanation"]) as sheet:
            assert sheet.format == "PNG" and sheet.width > 2 * 40


def test_predict_reads_a_list_from_standard_input_and_marks_unsure_answers(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    values = {"temperature": 4.0, "threshold": 1.0, "photos": 9}
    (copy / "calibration.json").write_text(json.dumps(values))
    files = [str(photos / "test" / name / "002.png") for name in ("rock", "paper")]
    heat = tmp_path / "heat"
    done = chifoumi("predict", copy, "-", "--explain", heat, stdin="\n".join(files))
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if "002.png" in line]
    # Both photos have the same name, and the table shows the heat map of each.
    assert [[*line[:3], line[-1]] for line in lines] == [
        [files[0], "rock", "unsure", "002-heat.png"],
        [files[1], "paper", "unsure", "002-heat-2.png"],
    ]
    assert {path.name for path in heat.iterdir()} == {"002-heat.png", "002-heat-2.png"}


@pytest.mark.parametrize("batch_size", ["1", "5", "64"])
def test_evaluate_does_not_depend_on_the_batch_size(run: Path, batch_size: str) -> None:
    done = chifoumi("evaluate", run, "--json", "--batch-size", batch_size, "--no-report")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    expected = json.loads((run / "results.json").read_text())
    assert report["confusion"] == expected["test_confusion"]
    # The sums of float32 have another order.
    assert report["loss"] == pytest.approx(expected["test_loss"], rel=1e-4)
    assert report["report"] is None and not (run / "evaluation").exists()


def test_a_damaged_checkpoint_is_a_warning_that_names_it(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    newest = max(path for path in (copy / "checkpoints").iterdir())
    (newest / "progress.json").write_text("{}")
    done = chifoumi("predict", copy, photos / "test" / "rock" / "001.png")
    assert done.returncode == 0, done.stderr
    assert f"warning: skipped a damaged checkpoint: {newest}" in done.stderr


def test_evaluate_two_runs_on_another_folder(run: Path, tmp_path: Path) -> None:
    new, other = write_photos(tmp_path / "new", 3, seed=9), tmp_path / "other-1"
    shutil.copytree(run, other)
    out = tmp_path / "out"
    done = chifoumi("evaluate", run, other, "--data", new, "--out", out, "--no-images")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Accuracy 100.00% (9 of 9") == 2
    assert f"Photos that only {run} got right: 0; only {other}: 0." in done.stdout
    assert "McNemar's exact test: p = 1." in done.stdout
    assert done.stdout.splitlines()[-1] == f"Report: {out / 'report.html'}"
    assert "<h1>Comparison of 2 runs</h1>" in (out / "report.html").read_text()


def test_evaluate_matches_classes_by_name(run: Path, tmp_path: Path) -> None:
    root = write_photos(tmp_path / "new", 3, seed=9)
    for name in ("paper", "rock"):
        for path in (root / name).iterdir():
            path.unlink()
        (root / name).rmdir()
    done = chifoumi("evaluate", run, "--data", root, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["confusion"] == [[0, 0, 0], [0, 0, 0], [0, 0, 3]]


def test_check_of_a_good_folder(photos: Path) -> None:
    done = chifoumi("check", photos)
    assert done.returncode == 0, done.stderr
    assert re.search(r"paper +14 +0 +4", done.stdout)


def test_check_of_a_bad_folder(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "photos", 3)
    (root / "rock" / "empty.png").write_bytes(b"")
    done = chifoumi("check", root)
    assert done.returncode == 1
    assert "rock/empty.png" in done.stdout
    assert "1 problem." in done.stdout
    done = chifoumi("train", "--data", root, "--strict", cwd=tmp_path)
    assert done.returncode == 2
    assert "rock/empty.png" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--data", "absent"), "absent"),
        (("check", "absent"), "absent"),
        (("train", "--data", "empty"), "empty"),
        (("train", "--data", "single"), "single"),
        (("train", "--data", "photos", "--epochs", "0"), "epochs"),
        (("train", "--data", "photos", "--image-size", "5"), "image_size"),
        (("train", "--recipe", "study-mlp", "--image-size", "64"), "image_size"),
        (("train", "--groups", "groups.csv"), "--data"),
        (("train", "--data", "photos", "--train-list", "absent.txt"), "absent.txt"),
        (("train", "--resume", "absent"), "absent"),
        (("train", "--resume", "empty", "--seed", "3"), "--seed"),
        (("train", "--resume", "empty", "--recipe", "transfer"), "--recipe"),
        (("train", "--learning-rate", "inf"), "learning_rate"),
        (("crossval", "--data", "photos", "--out", "photos/out"), "--out"),
        (("predict", "empty", "single/rock/a.png"), "config.json"),
        (("evaluate", "empty"), "config.json"),
        (("train", "--recipe", "resnet"), "resnet"),
        (("train", "--data", "photos", "--runs", "photos/runs"), "--runs"),
        (("train", "--data", ""), "empty"),
        (("predict", "empty"), "no photos"),
        (("evaluate", "empty", "empty"), "config.json"),
        (("evaluate", "empty", "--no-report", "--out", "new"), "--no-report"),
        (("evaluate", "empty", "--out", "photos/out", "--data", "photos"), "never written to"),
        (("frobnicate",), "frobnicate"),
        (("summary", "--recipe", "study-mlp", "--image-size", "5"), "image_size"),
        (("summary", "--classes", "1"), "classes"),
        (("hands", "--out", "photos"), "photos"),
        (("hands", "--out", "new", "--images", "0"), "--images"),
        (("hands", "--out", "single/rock/a.png/new"), "single/rock/a.png: file exists"),
        (("evaluate", "empty", "--batch-size", "0"), "--batch-size"),
        (("predict", "empty", "a.png", "--batch-size", "0"), "--batch-size"),
    ],
)
def test_a_wrong_command_is_an_error_with_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    write_photos(tmp_path / "photos", 2)
    (tmp_path / "single" / "rock").mkdir(parents=True)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "single" / "rock" / "a.png")
    before = sorted(tmp_path.rglob("*"))
    done = chifoumi(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path for path in tmp_path.rglob("*") if path.name != "runs") == before


def test_summary_of_the_studys_cnn() -> None:
    done = chifoumi("summary", "--recipe", "study-cnn")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if "(None" in line]
    assert [line[0] for line in lines] == [
        *("conv2d_1", "activation_1", "max_pooling2d_1"),
        *("conv2d_2", "activation_2", "max_pooling2d_2"),
        *("conv2d_3", "activation_3", "max_pooling2d_3"),
        *("flatten_1", "dense_1", "activation_4", "dropout_1", "dense_2", "activation_5"),
    ]
    assert "(None, 73, 73, 64)" in done.stdout
    assert "Total parameters: 21,856,483" in done.stdout


def test_check_accepts_rendered_hands(tmp_path: Path) -> None:
    done = chifoumi("hands", "--out", tmp_path / "hands", "--images", "6", "--test-images", "3")
    assert done.returncode == 0, done.stderr
    done = chifoumi("check", tmp_path / "hands")
    assert done.returncode == 0, done.stdout
    assert re.search(r"scissors +1 +0 +1", done.stdout)


def test_module_and_command_are_the_same(tmp_path: Path) -> None:
    import subprocess
    import sys

    for command in (["-m", "chifoumi_jax.train"], ["-m", "chifoumi_jax.cli", "train"]):
        done = subprocess.run(
            [sys.executable, *command, "--data", "absent"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 2
        assert "absent" in done.stderr and len(done.stderr.splitlines()) == 1
