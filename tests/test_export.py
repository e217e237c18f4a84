"""Export to other runtimes: the comparison of each file, and its use without this package."""

import dataclasses
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import exports as measured
from chifoumi_jax import load, recipes
from chifoumi_jax.backbones import BACKBONES, efficientnet_lite0
from chifoumi_jax.convert import from_keras
from chifoumi_jax.convert.arrays import cnn_to_arrays
from chifoumi_jax.data.dataset import load_dataset
from chifoumi_jax.export import ExportError, export, verify, writing
from chifoumi_jax.export.formats import SUFFIXES, Format
from chifoumi_jax.export.network import NetworkDescription, describe, walk
from chifoumi_jax.models.description import Conv, Dense, Residual
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training import checkpoint, run
from chifoumi_jax.training.calibration import UNCALIBRATED, Calibration
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.run import RunError
from chifoumi_jax.training.transfer import with_pretrained
from tests import benchmarked, exports
from tests.commands import chifoumi

NETWORKS = ("cnn", "mlp-v21", "transfer")
# Formats that run without this package; a safetensors file needs it.
INDEPENDENT: tuple[Format, ...] = ("onnx", "stablehlo", "keras", "torch")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "BUDGET", 0.0)
        # Four stages have every kind of block, and compile in half the time.
        patch.setitem(BACKBONES, "efficientnet-lite0", efficientnet_lite0(stages=4))
        yield


@pytest.fixture(scope="module")
def runs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A run of each network with a first checkpoint; the largest network is calibrated."""
    shared: dict[str, Any] = {"data": photos, "runs": tmp_path_factory.mktemp("runs")}
    chosen = {
        "cnn": recipes.cnn.replace(image_size=24, **shared),
        "mlp-v21": recipes.study_mlp_v21.replace(**shared),
        "transfer": recipes.transfer.replace(image_size=32, hands=0, **shared),
    }
    directories = {name: _untrained_run(recipe) for name, recipe in chosen.items()}
    calibration = dataclasses.asdict(Calibration(1.7, 0.5, 12))
    (directories["transfer"] / "calibration.json").write_text(json.dumps(calibration))
    return directories


def _untrained_run(recipe: Recipe) -> Path:
    """The folder of a run whose untrained weights give photos different probabilities."""
    assert recipe.data is not None
    data = load_dataset(recipe, recipe.data, recipe.runs)
    program = program_of(recipe, len(data.classes))
    key = program.seeds(0)[0]
    if recipe.pretrained:
        state = with_pretrained(key, recipe, program)
        # The last layer is zero, which would give all photos the same probabilities.
        drawn = jax.jit(lambda key: program.init(key).params["classify"]["kernel"][...])(key)
        for params in (state.params, state.average):
            kernel: Any = params["classify"]["kernel"]
            kernel.set_value(drawn)
    else:
        state = program.init(key)
        # Doubled, because the initial weights give all photos nearly the same probabilities.
        state = state._replace(params=jax.tree.map(lambda leaf: 2 * leaf, state.params))
    directory = run.directory(recipe, run.create(recipe))
    photos = {"folder": str(recipe.data), "fingerprint": data.scan.fingerprint}
    run.write_config(directory, recipe, classes=list(data.classes), data=photos)
    checkpoint.save(directory / "checkpoints", 1, state.trees(), {"best_step": None})
    return directory


@pytest.fixture(scope="module")
def classifiers(runs: Mapping[str, Path]) -> Mapping[str, Classifier]:
    """The loaded classifier of each run, compiled once."""
    return {name: load(directory) for name, directory in runs.items()}


@pytest.fixture(scope="module")
def files(photos: Path) -> list[Path]:
    return sorted((photos / "test").glob("*/*.png"))


@pytest.fixture(scope="module")
def exported(runs: Mapping[str, Path]) -> dict[tuple[str, Format], writing.Report]:
    return {(name, to): export(runs[name], to) for name in NETWORKS for to in get_args(Format)}


@pytest.fixture(scope="module")
def predicted(
    exported: dict[tuple[str, Format], writing.Report],
    classifiers: Mapping[str, Classifier],
    files: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, np.ndarray]:
    """Probabilities by exported file, from a process that cannot import this package."""
    folder, models = tmp_path_factory.mktemp("opened"), []
    for name in NETWORKS:
        classifier, images = classifiers[name], folder / f"{name}.npy"
        pixels = np.stack([classifier.pixels(file) for file in files])
        np.save(images, pixels.astype(np.float32) / np.float32(255))
        models += [[str(exported[name, to].path), str(images)] for to in INDEPENDENT]
    (folder / "files.json").write_text(json.dumps(models))
    arguments = [exports.__file__, str(folder / "files.json"), str(folder / "outputs.npz")]
    done = subprocess.run([sys.executable, "-P", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "outputs.npz") as outputs:
        return dict(outputs)


@pytest.mark.parametrize("to", INDEPENDENT)
@pytest.mark.parametrize("name", NETWORKS)
def test_runs_without_this_package_and_gives_the_same_probabilities(
    name: str,
    to: Format,
    exported: dict[tuple[str, Format], writing.Report],
    predicted: dict[str, np.ndarray],
    classifiers: Mapping[str, Classifier],
    files: list[Path],
) -> None:
    expected = classifiers[name].predict(files).probabilities
    assert np.ptp(expected, axis=0).max() > 0.01
    # Float32 rounding, bounded as in `verify`, on logits of up to 10.
    np.testing.assert_allclose(predicted[str(exported[name, to].path)], expected, atol=1e-4)


@pytest.mark.parametrize("to", get_args(Format))
@pytest.mark.parametrize("name", NETWORKS)
def test_report_of_an_export(
    name: str, to: Format, exported: dict[tuple[str, Format], writing.Report]
) -> None:
    report = exported[name, to]
    assert report.path.suffix == SUFFIXES[to]
    assert report.compared_on == "the run's own test photos"
    assert report.sizes[report.path.name] == report.path.stat().st_size
    names = {check.name for check in report.checks}
    assert "probabilities" in names and len(names) == 2
    assert all(check.holds for check in report.checks)
    assert all(took > 0 for took in report.milliseconds.values())
    assert len(report.milliseconds) == 2
    assert not list(report.path.parent.glob(".*.tmp*"))


def test_a_loaded_safetensors_file_is_the_same_classifier(
    exported: dict[tuple[str, Format], writing.Report],
    runs: Mapping[str, Path],
    classifiers: Mapping[str, Classifier],
    files: list[Path],
) -> None:
    for name in NETWORKS:
        path = exported[name, "safetensors"].path
        loaded, expected = load(path), classifiers[name]
        assert loaded.classes == expected.classes
        assert loaded.calibration == expected.calibration
        for got, want in zip(
            *(jax.tree.leaves(one.weights) for one in (loaded, expected)), strict=True
        ):
            np.testing.assert_array_equal(got, want)
        # The program is compiled again: a few float32 roundings of a value below 1.
        np.testing.assert_allclose(
            loaded.predict(files).probabilities, expected.predict(files).probabilities, atol=1e-6
        )
        # The file does not contain the paths of the photos and runs.
        assert str(runs[name].parent).encode() not in path.read_bytes()


def _perturbed(layers: tuple[Any, ...], name: str, by: float) -> tuple[Any, ...]:
    """The layers, with the largest weight of the named layer changed by `by`."""
    changed: list[Any] = []
    for layer in layers:
        if isinstance(layer, Residual):
            layer = dataclasses.replace(layer, layers=_perturbed(layer.layers, name, by))
        elif isinstance(layer, Conv | Dense) and layer.name == name:
            kernel = layer.kernel.copy()
            kernel.flat[np.abs(kernel).argmax()] += by
            layer = dataclasses.replace(layer, kernel=kernel)
        changed.append(layer)
    return tuple(changed)


FAULTS: dict[str, Any] = {
    "cnn without standardising": ("cnn", "onnx", lambda n: {"standardize": not n.standardize}),
    "cnn, a weight": ("cnn", "keras", lambda n: {"layers": _perturbed(n.layers, "conv2d_2", 0.5)}),
    "mlp, a weight": ("mlp-v21", "torch", lambda n: {"layers": _perturbed(n.layers, "fc1", 0.5)}),
    "mlp, stablehlo": (
        "mlp-v21",
        "stablehlo",
        lambda n: {"layers": _perturbed(n.layers, "fc1", 0.5)},
    ),
    "transfer, a weight": (
        "transfer",
        "onnx",
        lambda n: {"layers": _perturbed(n.layers, "block6_depthwise", 0.5)},
    ),
    "transfer without the mirror image": ("transfer", "onnx", lambda n: {"mirror": False}),
    "transfer without the temperature": ("transfer", "onnx", lambda n: {"temperature": 1.0}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_leaves_no_file(
    fault: str, runs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, to, change = FAULTS[fault]

    def faulty(classifier: Classifier) -> NetworkDescription:
        network = describe(classifier)
        return dataclasses.replace(network, **change(network))

    monkeypatch.setattr(writing, "describe", faulty)
    monkeypatch.setattr("chifoumi_jax.export.onnx.export.describe", faulty)
    with pytest.raises(ExportError, match="does not compute what the model computes"):
        export(runs[name], to, tmp_path / f"model{SUFFIXES[to]}")
    assert not list(tmp_path.iterdir())


def test_a_changed_weight_in_a_safetensors_file_leaves_no_file(
    runs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.numpy

    save = safetensors.numpy.save

    def faulty(arrays: dict[str, np.ndarray], **others: Any) -> bytes:
        # One weight changes by its last bit.
        array = arrays["fc2.weight"].copy()
        array[3, 4] = np.nextafter(array[3, 4], np.float32(np.inf))
        return save(arrays | {"fc2.weight": array}, **others)

    monkeypatch.setattr(safetensors.numpy, "save", faulty)
    with pytest.raises(ExportError, match="6 arrays of weights: difference"):
        export(runs["mlp-v21"], "safetensors", tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_overwritten_only_with_force(
    runs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("somebody's")
    with pytest.raises(ExportError, match="exists: name another file with --out, or give --force"):
        export(runs["mlp-v21"], "onnx", path)
    with monkeypatch.context() as patch:
        patch.setattr(verify, "LOGITS_BOUND", -1.0)
        with pytest.raises(ExportError, match="logits: difference"):
            export(runs["mlp-v21"], "onnx", path, force=True)
    assert path.read_text() == "somebody's"
    export(runs["mlp-v21"], "onnx", path, force=True)
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ExportError, match="is a folder: name a file with --out"):
        export(runs["mlp-v21"], "onnx", tmp_path / "folder.onnx", force=True)
    (tmp_path / "folder.onnx").rmdir()
    with pytest.raises(ExportError, match="which is never written to"):
        export(runs["mlp-v21"], "onnx", tmp_path / "other.onnx", data=tmp_path)
    assert path.stat().st_size > 100_000
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_takes_pictures_of_any_size(
    name: str, runs: Mapping[str, Path], tmp_path: Path
) -> None:
    report = export(runs[name], "onnx", tmp_path / "model.onnx", preprocess=True)
    random, classifier = np.random.default_rng(0), load(runs[name])
    for height, width in ((37, 120), (250, 60), (24, 24)):
        pictures = random.integers(0, 256, (2, height, width, 3), np.uint8)
        found = exports.onnx(str(report.path), pictures)
        expected = classifier.predict(list(pictures)).probabilities
        # Nearest-neighbour pixels equal Pillow's, so only float32 rounding remains. Antialiased
        # pixels sometimes differ by 1/255; few of them do, so the effect is less than 0.004.
        np.testing.assert_allclose(found, expected, atol=1e-5 if name == "cnn" else 5e-3)
    (levels,) = (check for check in report.checks if check.name.startswith("resized"))
    assert levels.difference <= 1


def test_nearest_neighbour_pixels_equal_pillows(runs: Mapping[str, Path], tmp_path: Path) -> None:
    from chifoumi_jax.export.onnx.file import load_resizer

    report = export(runs["cnn"], "onnx", tmp_path / "model.onnx", preprocess=True)
    random, classifier = np.random.default_rng(1), load(runs["cnn"])
    resize = load_resizer(report.path)
    for height, width in random.integers(1, 1500, (40, 2)):
        picture = random.integers(0, 256, (height, width, 3), np.uint8)
        np.testing.assert_array_equal(resize(picture), classifier.pixels(picture))


@pytest.mark.parametrize(("name", "preprocess"), [("mlp-v21", True), ("transfer", False)])
def test_onnx_in_8_bits_is_smaller_and_reports_accuracies(
    name: str, preprocess: bool, runs: Mapping[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    report = export(runs[name], "onnx", path, int8=True, preprocess=preprocess)
    assert report.sizes[path.name] < 0.4 * report.sizes["the same in float32"]
    assert set(report.accuracies) == {verify.OURS, path.name}
    assert all(0 <= share <= 1 for share in report.accuracies.values())
    assert list(tmp_path.iterdir()) == [path]


def test_8_bits_that_change_labels_are_refused(
    runs: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chifoumi_jax.export.onnx import export as onnx_export
    from chifoumi_jax.export.onnx.int8 import quantize

    def faulty(source: Path, target: Path, images: list[np.ndarray]) -> None:
        # Ranges that come from black photos fit no other photo.
        quantize(source, target, [np.zeros_like(image) for image in images])

    monkeypatch.setattr(onnx_export, "quantize", faulty)
    with pytest.raises(ExportError, match="photos that 8 bits change"):
        export(runs["transfer"], "onnx", tmp_path / "model.onnx", int8=True)
    assert not list(tmp_path.iterdir())


def test_8_bits_need_photos_of_the_models_classes(runs: Mapping[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs["transfer"], tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["classes"] = ["mug", "plate", "spoon"][: len(config["classes"])]
    config["recipe"]["data"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match=r"only rendered hands .*gone no longer exists.*--data"):
        export(run, "onnx", tmp_path / "model.onnx", int8=True)
    assert not (tmp_path / "model.onnx").exists()


def test_onnx_metadata(exported: dict[tuple[str, Format], writing.Report]) -> None:
    import onnx

    model = onnx.load(exported["transfer", "onnx"].path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version >= 17
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["classes"]) == ["paper", "rock", "scissors"]
    assert (metadata["recipe"], json.loads(metadata["temperature"])) == ("transfer", 1.7)
    # Batch normalisation is folded into the convolutions.
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_keras_metadata(exported: dict[tuple[str, Format], writing.Report]) -> None:
    import zipfile

    with zipfile.ZipFile(exported["cnn", "keras"].path) as archive:
        metadata = json.loads(archive.read("metadata.json"))["chifoumi"]
    assert metadata["classes"] == ["paper", "rock", "scissors"]


def _untrained(recipe: Recipe) -> Classifier:
    program = program_of(recipe, 3)
    weights = program.init(program.seeds(0)[0]).weights
    return Classifier(recipe, ("paper", "rock", "scissors"), program, weights, UNCALIBRATED)


def test_the_studys_network_is_read_back_from_keras(tmp_path: Path) -> None:
    from flax import nnx

    from chifoumi_jax.export import keras_file

    classifier = _untrained(recipes.study_cnn.replace(image_size=30))
    keras_file.write(describe(classifier), tmp_path / "model.keras")
    model = nnx.merge(classifier.program.graph, classifier.weights)
    found, expected = (cnn_to_arrays(m) for m in (from_keras(tmp_path / "model.keras"), model))
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_odd_sizes_get_the_same_padding_in_every_format(tmp_path: Path) -> None:
    from chifoumi_jax.export.onnx import file as onnx_file
    from chifoumi_jax.export.stablehlo import LaxOperations

    classifier = _untrained(recipes.transfer.replace(image_size=45))
    network = describe(classifier)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 45, 45, 3), np.uint8)
    expected = verify.reference(classifier, pixels)
    compute = jax.jit(lambda images: walk(LaxOperations(), network, images))
    logits, _ = compute(jnp.asarray(expected.images))
    # Logits of up to 1, each with about a hundred float32 roundings (6e-8).
    np.testing.assert_allclose(logits, expected.logits, atol=1e-5)
    onnx_file.write(network, tmp_path / "model.onnx")
    outputs = onnx_file.OnnxRunner(tmp_path / "model.onnx").predict(expected.images)
    assert outputs.logits is not None
    np.testing.assert_allclose(outputs.logits, expected.logits, atol=1e-5)


def test_a_bfloat16_run_is_exported_in_float32(tmp_path: Path) -> None:
    classifier = _untrained(recipes.study_mlp.replace(precision="bfloat16"))
    in_float32 = verify.in_float32(classifier)
    assert in_float32.recipe.precision == "float32"
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32), np.uint8)
    difference = np.abs(in_float32.probabilities(pixels) - classifier.probabilities(pixels)).max()
    # More than float32's rounding, and less than a dozen of bfloat16's roundings (2 ** -8).
    assert 1e-6 < difference < 0.05


@pytest.mark.parametrize(
    ("to", "package", "extra"),
    [
        ("onnx", "onnxruntime", "export"),
        ("stablehlo", "flatbuffers", "export"),
        ("keras", "tensorflow", "parity"),
        ("torch", "torch", "parity"),
    ],
)
def test_the_error_names_the_extra_to_install(
    to: Format, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    message = rf"needs {package}: pip install 'chifoumi-jax\[{extra}\]'"
    with pytest.raises(ExportError, match=message):
        export(tmp_path, to)


def test_wrong_arguments_are_refused(runs: Mapping[str, Path], tmp_path: Path) -> None:
    mlp = runs["mlp-v21"]
    with pytest.raises(ExportError, match="need --to onnx"):
        export(mlp, "torch", int8=True)
    with pytest.raises(ExportError, match=r"must end in \.onnx"):
        export(mlp, "onnx", tmp_path / "model.keras")
    with pytest.raises(ExportError, match="there is no folder"):
        export(mlp, "onnx", tmp_path / "absent" / "model.onnx")
    (tmp_path / "model.onnx").touch()
    with pytest.raises(RunError, match="does not exist"):
        export(tmp_path / "absent", "onnx", tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="exists: name another file"):
        export(mlp, "onnx", tmp_path / "model.onnx")


@pytest.mark.usefixtures("unchecked_types")
def test_an_unknown_format_is_refused(runs: Mapping[str, Path]) -> None:
    with pytest.raises(ExportError, match="--to must be one of"):
        export(runs["mlp-v21"], "tflite")  # type: ignore[arg-type]


def test_importing_the_export_imports_no_other_framework() -> None:
    code = (
        "import sys, chifoumi_jax.cli, chifoumi_jax.export;"
        "sys.exit(', '.join({'onnx', 'onnxruntime', 'keras', 'tensorflow', 'torch'}"
        " & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_export_command(runs: Mapping[str, Path], tmp_path: Path, files: list[Path]) -> None:
    path = tmp_path / "hands.safetensors"
    done = chifoumi("export", runs["mlp-v21"], "--to", "safetensors", "--out", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(path)
    assert "the run's own test photos" in done.stdout and "bound" in done.stdout
    again = chifoumi("export", runs["mlp-v21"], "--to", "safetensors", "--out", path)
    assert again.returncode == 2 and again.stderr.startswith("error: ")
    assert "Traceback" not in again.stderr and "--force" in again.stderr
    # The file can be used in place of the run.
    predicted = chifoumi("predict", path, files[0], "--json")
    expected = load(runs["mlp-v21"]).predict(files[0]).probabilities[0]
    (answer,) = json.loads(predicted.stdout)
    # Another process compiled it: a few float32 roundings of a value below 1.
    np.testing.assert_allclose(list(answer["probabilities"].values()), expected, atol=1e-6)


def test_the_benchmark_writes_a_table_of_exports(
    runs: Mapping[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [str(runs["mlp-v21"]), "--report", str(tmp_path), "--only", "onnx"]
    monkeypatch.setattr(sys, "argv", ["exports", *arguments])
    monkeypatch.setattr(measured, "run", benchmarked.run)
    measured.main()
    rows = json.loads((tmp_path / "exports.json").read_text())["exports"]
    assert [row["format"] for row in rows] == ["onnx", "onnx, 8 bits"]
    assert all(min(row["milliseconds"].values()) > 0 for row in rows)
    text = (tmp_path / "table.md").read_text()
    assert capsys.readouterr().out == text + "\n"
    first, second = text.splitlines()[-2:]
    assert first.startswith(f"| {runs['mlp-v21'].name} | onnx | ") and "may be" in first
    assert "accuracy" in second and second.endswith(" ms |")


def test_the_benchmark_continues_after_a_run_that_cannot_be_exported(
    runs: Mapping[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [str(tmp_path / "absent"), str(runs["mlp-v21"]), "--report", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["exports", *arguments, "--only", "safetensors"])
    monkeypatch.setattr(measured, "run", benchmarked.run)
    with pytest.raises(SystemExit, match="1"):
        measured.main()
    bad, good = capsys.readouterr().out.splitlines()[-3:-1]
    assert bad.startswith("| absent | safetensors | not measured: ")
    assert good.startswith(f"| {runs['mlp-v21'].name} | safetensors | ") and good.endswith(" ms |")
