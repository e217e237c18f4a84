"""Weights from and to the real Keras, bit for bit."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from chifoumi_jax import CNN
from chifoumi_jax.convert import WeightsError, from_keras, to_keras
from chifoumi_jax.convert.arrays import cnn_to_arrays
from tests.weights import (
    assert_same_bits,
    cnn,
    cnn_arrays,
    keras_config,
    keras_model,
    set_keras,
    without_extremes,
    write_keras,
    write_legacy,
    write_v3,
)

SUFFIXES = [".keras", ".h5", ".weights.h5"]


def save(model: Any, path: Path) -> Path:
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path


@pytest.fixture(scope="module", params=[False, True], ids=["Sequential", "functional"])
def original(request: pytest.FixtureRequest) -> Any:
    model = keras_model(37, 4, functional=request.param, dropout=0.25)
    return set_keras(model, cnn_arrays(37, 4))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_round_trip_from_keras_to_jax_and_back(
    original: Any, suffix: str, tmp_path: Path
) -> None:
    model = from_keras(save(original, tmp_path / f"model{suffix}"), image_size=37)
    assert isinstance(model, CNN)
    assert (model.image_size, model.num_classes) == (37, 4)
    # A weights file does not contain the dropout rate.
    assert model.dropout_rate == (0.5 if suffix == ".weights.h5" else 0.25)
    assert_same_bits(cnn_to_arrays(model), cnn_arrays(37, 4))
    to_keras(model, tmp_path / "back.weights.h5")
    other = set_keras(keras_model(37, 4), cnn_arrays(37, 4, seed=1))
    other.load_weights(tmp_path / "back.weights.h5")
    assert_same_bits(cnn_to_arrays(from_keras(other)), cnn_arrays(37, 4))


def test_live_models_round_trip(original: Any) -> None:
    model = from_keras(original)
    assert (model.image_size, model.num_classes, model.dropout_rate) == (37, 4, 0.25)
    assert_same_bits(cnn_to_arrays(model), cnn_arrays(37, 4))
    target = keras_model(37, 4, functional=True)
    to_keras(model, target)
    for found, expected in zip(target.get_weights(), cnn_arrays(37, 4).values(), strict=True):
        assert found.tobytes() == expected.tobytes()


def test_a_functional_model_loads_the_written_file(tmp_path: Path) -> None:
    to_keras(cnn(), tmp_path / "x.weights.h5")
    model = keras_model(functional=True)
    model.load_weights(tmp_path / "x.weights.h5")
    assert_same_bits(cnn_to_arrays(from_keras(model)), cnn_arrays())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_saved_with_its_optimizer_is_read(suffix: str, tmp_path: Path) -> None:
    model = set_keras(keras_model(), without_extremes(cnn_arrays()))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    found = from_keras(save(model, tmp_path / f"model{suffix}"))
    assert_same_bits(cnn_to_arrays(found), without_extremes(cnn_arrays()))


def test_logits_agree(tmp_path: Path) -> None:
    original = set_keras(keras_model(64, softmax=False), without_extremes(cnn_arrays(64)))
    model = from_keras(save(original, tmp_path / "model.keras"))
    images = np.random.default_rng(0).random((3, 64, 64, 3), np.float32)
    expected = np.asarray(original(images))
    assert np.ptp(expected) > 1
    # Sums of up to 2,304 float32 products in another order, on values up to 5; measured 2e-6.
    np.testing.assert_allclose(model(jnp.asarray(images)), expected, atol=2e-5)


def test_float64_round_trips(tmp_path: Path) -> None:
    import jax
    from keras import config

    arrays = cnn_arrays(dtype="float64")
    config.set_dtype_policy("float64")
    try:
        original = set_keras(keras_model(), arrays)
        paths = [save(original, tmp_path / f"model{suffix}") for suffix in SUFFIXES]
        with jax.enable_x64(True):
            for path in paths:
                assert_same_bits(cnn_to_arrays(from_keras(path, dtype="float64")), arrays)
            to_keras(from_keras(original, dtype="float64"), tmp_path / "back.weights.h5")
        other = keras_model()
        other.load_weights(tmp_path / "back.weights.h5")
        for found, expected in zip(other.get_weights(), arrays.values(), strict=True):
            assert found.tobytes() == expected.tobytes()
    finally:
        config.set_dtype_policy("float32")
    for path in paths:
        with pytest.raises(WeightsError, match=r"float64'?; expected '?float32"):
            from_keras(path)


# Files of Keras 2.2.4


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_model_of_keras_2_2_4_is_read(functional: bool, as_text: bool, tmp_path: Path) -> None:
    config = keras_config(37, functional=functional, legacy=True)
    path = write_legacy(tmp_path / "model.h5", cnn_arrays(37), config, as_text=as_text)
    model = from_keras(path)
    assert (model.image_size, model.num_classes, model.dropout_rate) == (37, 3, 0.5)
    assert_same_bits(cnn_to_arrays(model), cnn_arrays(37))


def test_weights_of_keras_2_2_4_are_read(tmp_path: Path) -> None:
    for name in ("weights.h5", "weights.hdf5", "x.WEIGHTS.H5"):
        path = write_legacy(tmp_path / name, cnn_arrays(37))
        assert_same_bits(cnn_to_arrays(from_keras(path)), cnn_arrays(37))


# Image size


def test_the_image_size_comes_from_the_configuration(tmp_path: Path) -> None:
    # Sizes 38 to 45, so 40 too, give the same layers.
    files = [
        write_keras(tmp_path / "a.keras", cnn_arrays(40), keras_config(40)),
        write_legacy(tmp_path / "b.h5", cnn_arrays(40), keras_config(40, legacy=True)),
    ]
    for path in files:
        assert from_keras(path).image_size == from_keras(path, image_size=40).image_size == 40
        for other in (38, 22):
            with pytest.raises(WeightsError, match=f"image_size={other} was given, but"):
                from_keras(path, image_size=other)
    path = write_keras(tmp_path / "c.keras", cnn_arrays(40), keras_config(64))
    with pytest.raises(WeightsError, match="image_size is 64, but"):
        from_keras(path)


def test_without_a_configuration_the_smallest_image_size_is_used(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "x.weights.h5", cnn_arrays(40))
    assert from_keras(path).image_size == 38
    assert from_keras(path, image_size=40).image_size == 40
    with pytest.raises(WeightsError, match=r"is for 38 to 45 pixels"):
        from_keras(path, image_size=46)


def test_a_configuration_without_image_size_needs_the_argument(tmp_path: Path) -> None:
    config = keras_config(40)
    del config["config"]["layers"][0]
    path = write_keras(tmp_path / "a.keras", cnn_arrays(40), config)
    assert from_keras(path, image_size=40).image_size == 40
    with pytest.raises(WeightsError, match="give image_size"):
        from_keras(path)


# Live models


class DuckTypedModel:
    """Not a Keras class, but it has the required methods."""

    def __init__(self, model: Any):
        self.layers, self.to_json = model.layers, model.to_json


def test_a_live_model_is_recognized_by_its_methods() -> None:
    model = set_keras(keras_model(), cnn_arrays())
    assert_same_bits(cnn_to_arrays(from_keras(DuckTypedModel(model))), cnn_arrays())


def test_other_live_models_are_refused() -> None:
    from keras import Input, Model, Sequential, layers

    class Mine(Model):
        pass

    other = Sequential([Input((22, 22, 3)), layers.Conv2D(16, 3)])
    unbuilt = keras_model(input_layer=False)
    for model, message in (
        (other, "Conv2D with 16 filters; expected Conv2D with 32"),
        (unbuilt, "0 weights; expected 10.*build"),
        (Mine(), "the model is a Mine"),
    ):
        with pytest.raises(WeightsError, match=f"the Keras model: .*{message}"):
            from_keras(model)
        with pytest.raises(WeightsError, match=f"the Keras model: .*{message}"):
            to_keras(cnn(), model)


def test_a_live_model_of_another_size_stays_unchanged() -> None:
    for target, message in (
        (keras_model(22, 4), r"dense_2/kernel has shape \(64, 4\); expected \(64, 3\)"),
        (keras_model(37, 3), "it takes images of 37 pixels; expected 22"),
    ):
        before = target.get_weights()
        with pytest.raises(WeightsError, match=message):
            to_keras(cnn(), target)
        for found, expected in zip(target.get_weights(), before, strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("unchecked_types")
def test_other_sources_and_targets_are_a_type_error() -> None:
    for thing in (None, 3, b"x.h5", object()):
        with pytest.raises(TypeError, match="expected a path or a Keras model"):
            from_keras(thing)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="expected a path or a Keras model"):
            to_keras(cnn(), thing)  # type: ignore[arg-type]


# Writing


def test_an_existing_file_is_replaced_and_no_other_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.weights.h5"
    path.write_text("old")
    to_keras(cnn(), str(path))
    first = path.read_bytes()
    to_keras(cnn(), path)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import h5py

    path = tmp_path / "x.weights.h5"
    path.write_text("old")

    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", fail)
    with pytest.raises(WeightsError, match=r"x\.weights\.h5: No space left"):
        to_keras(cnn(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_invalid_target_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.weights.h5").mkdir()
    for name, message in (
        ("x.h5", r"must end in \.weights\.h5"),
        ("x.keras", r"must end in \.weights\.h5"),
        ("absent/x.weights.h5", "No such file"),
        ("folder.weights.h5", "directory"),
    ):
        with pytest.raises(WeightsError, match=message):
            to_keras(cnn(), tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.weights.h5"]
