"""Between models and flat arrays: which are taken, and that every bit arrives."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from chifoumi_jax import CNN, MLP
from chifoumi_jax.convert import WeightsError
from chifoumi_jax.convert.arrays import (
    CNN_NAMES,
    MLP_NAMES,
    cnn_from_arrays,
    cnn_to_arrays,
    mlp_from_arrays,
    mlp_to_arrays,
)
from chifoumi_jax.convert.image_size import image_size_for
from chifoumi_jax.convert.untrusted.limits import MAX_IMAGE_SIZE
from chifoumi_jax.convert.untrusted.stored import Stored
from chifoumi_jax.models.cnn import MIN_IMAGE_SIZE, features_size
from tests.weights import Arrays, assert_same_bits, cnn_arrays, mlp_arrays


@pytest.mark.parametrize(("image_size", "num_classes"), [(22, 3), (37, 2), (64, 7)])
def test_the_cnns_weights_arrive_bit_for_bit(image_size: int, num_classes: int) -> None:
    arrays = cnn_arrays(image_size, num_classes)
    model = cnn_from_arrays(arrays, image_size, dropout_rate=0.25)
    assert (model.image_size, model.num_classes, model.dropout_rate) == (
        image_size,
        num_classes,
        0.25,
    )
    assert_same_bits(cnn_to_arrays(model), arrays)


def test_the_perceptrons_weights_arrive_bit_for_bit() -> None:
    arrays = mlp_arrays(num_classes=5)
    model = mlp_from_arrays(arrays, relu_logits=True, dropout_rate=0)
    assert (model.num_classes, model.relu_logits, model.dropout_rate) == (5, True, 0)
    assert_same_bits(mlp_to_arrays(model), arrays)
    np.testing.assert_array_equal(model.fc1.kernel[...], arrays["fc1.weight"].T)


def test_names_are_those_of_the_models_layers() -> None:
    cnn = nnx.eval_shape(lambda: CNN(22, rngs=nnx.Rngs(0)))
    mlp = nnx.eval_shape(lambda: MLP(rngs=nnx.Rngs(0)))
    assert [name.split("/")[0] for name in CNN_NAMES[::2]] == list(cnn.layers)
    assert [name.split(".")[0] for name in MLP_NAMES[::2]] == list(mlp.layers)


def test_a_model_is_as_if_it_had_been_made_with_these_weights() -> None:
    taken = cnn_from_arrays(cnn_arrays(37, 4), 37)
    described = nnx.eval_shape(lambda: CNN(37, 4, rngs=nnx.Rngs(0)))
    assert nnx.graphdef(taken) == nnx.graphdef(described)
    made = MLP(rngs=nnx.Rngs(0))
    copied = mlp_from_arrays(mlp_to_arrays(made))
    assert nnx.graphdef(copied) == nnx.graphdef(made)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(copied), nnx.state(made))
    images = jax.random.uniform(jax.random.key(0), (2, 32, 32))
    np.testing.assert_array_equal(nnx.jit(copied)(images), nnx.jit(made)(images))


def test_the_model_has_memory_of_its_own() -> None:
    # Large enough that JAX copies it in the background.
    arrays = {name: np.ascontiguousarray(array) for name, array in cnn_arrays(150).items()}
    model = cnn_from_arrays(arrays)
    for array in arrays.values():
        array[...] = 7
    assert_same_bits(cnn_to_arrays(model), cnn_arrays(150))


def test_arrays_in_any_memory_layout() -> None:
    arrays = {name: np.asfortranarray(array) for name, array in mlp_arrays().items()}
    assert_same_bits(mlp_to_arrays(mlp_from_arrays(arrays)), mlp_arrays())
    on_device = {name: jnp.asarray(array) for name, array in mlp_arrays().items()}
    assert_same_bits(mlp_to_arrays(mlp_from_arrays(on_device)), mlp_arrays())  # type: ignore[arg-type]


def test_64_bits_where_jax_has_them() -> None:
    with pytest.raises(WeightsError, match="jax_enable_x64"):
        cnn_from_arrays(cnn_arrays(dtype="float64"), dtype=jnp.float64)
    with jax.enable_x64(True):
        cnn = cnn_from_arrays(cnn_arrays(dtype="float64"), dtype=np.float64)
        assert_same_bits(cnn_to_arrays(cnn), cnn_arrays(dtype="float64"))
        mlp = mlp_from_arrays(mlp_arrays(dtype="float64"), dtype="float64")
        assert_same_bits(mlp_to_arrays(mlp), mlp_arrays(dtype="float64"))
        with pytest.raises(WeightsError, match="is float32; expected float64"):
            mlp_from_arrays(mlp_arrays(), dtype="float64")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", ">f4"])
def test_other_types_are_refused(dtype: str) -> None:
    with pytest.raises(WeightsError, match="expected float32 or float64"):
        mlp_from_arrays(mlp_arrays(), dtype=jnp.bfloat16 if dtype == "bfloat16" else dtype)


def put(name: str, value: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = value

    return change


def put_at(name: str, index: tuple[int, ...], value: float) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value

    return change


def zeros(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.zeros(shape, dtype)


SIGNALING = np.frombuffer(b"\x01\x00\xa0\x7f", "<f4")[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda arrays: arrays.clear(), "conv2d_1/kernel is missing; there is nothing"),
        (lambda arrays: arrays.pop("dense_2/bias"), "dense_2/bias is missing"),
        (put("dense_3/bias", zeros(3)), "dense_3/bias is not part of the network"),
        (put("conv2d_1/kernel", zeros(5, 5, 3, 32)), r"expected \(3, 3, 3, 32\)"),
        (put("conv2d_2/kernel", zeros(3, 3, 32, 64)), r"expected \(3, 3, 32, 32\)"),
        (put("conv2d_3/bias", zeros(32)), r"conv2d_3/bias has shape \(32,\); expected \(64,\)"),
        (put("conv2d_3/bias", zeros(64, 1)), r"conv2d_3/bias has shape \(64, 1\)"),
        (put("dense_1/kernel", zeros(64)), "expected two axes"),
        (put("dense_1/kernel", zeros(65, 64)), "no square image"),
        (put("dense_1/kernel", zeros(0, 64)), "no square image"),
        (put("dense_1/kernel", zeros(128, 64)), "no square image"),
        (put("dense_2/kernel", zeros(64, 0)), "0 classes"),
        (put("dense_2/kernel", zeros(64, 10_001)), "10001 classes"),
        (put("dense_2/kernel", zeros(64, 4)), r"dense_2/bias has shape \(3,\)"),
        (put("dense_1/bias", zeros(64, dtype="float64")), "is float64; expected float32"),
        (put("dense_1/bias", zeros(64, dtype=">f4")), "is >f4; expected float32"),
        (put("dense_1/bias", zeros(64, dtype="int32")), "is int32"),
        (put("dense_1/bias", zeros(64).astype(object)), "is object"),
        (put("dense_1/bias", [0.0] * 64), "is of the type list; expected an array"),
        (put("dense_1/bias", None), "is of the type NoneType"),
        (put_at("conv2d_2/kernel", (1, 2, 3, 4), np.nan), r"conv2d_2/kernel is nan at \[1, 2, 3"),
        (put_at("dense_1/bias", (63,), np.inf), r"dense_1/bias is inf at \[63\]"),
        (put_at("dense_1/kernel", (5, 0), -np.inf), r"dense_1/kernel is -inf at \[5, 0\]"),
        (put_at("dense_2/bias", (0,), SIGNALING), r"dense_2/bias is nan at \[0\]"),
    ],
)
def test_what_is_wrong_is_named(change: Callable[[Arrays], Any], sentence: str) -> None:
    arrays = cnn_arrays()
    change(arrays)
    with pytest.raises(WeightsError, match=sentence):
        cnn_from_arrays(arrays)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda arrays: arrays.pop("fc1.weight"), "fc1.weight is missing"),
        (put("fc4.bias", zeros(3)), "fc4.bias is not part of the network"),
        (put("fc1.weight", zeros(1024, 64)), r"\(1024, 64\); expected \(64, 1024\)"),
        (put("fc3.weight", zeros(32)), "expected two axes"),
        (put("fc2.bias", zeros(32, dtype="float16")), "is float16"),
        (put_at("fc2.weight", (3, 4), np.nan), r"fc2.weight is nan at \[3, 4\]"),
    ],
)
def test_what_is_wrong_with_the_perceptrons_is_named(
    change: Callable[[Arrays], Any], sentence: str
) -> None:
    arrays = mlp_arrays()
    change(arrays)
    with pytest.raises(WeightsError, match=sentence):
        mlp_from_arrays(arrays)


def test_a_model_that_is_not_whole_is_not_written() -> None:
    cnn = cnn_from_arrays(cnn_arrays())
    cnn.dense2.bias = nnx.Param(jnp.full(3, jnp.nan))
    with pytest.raises(WeightsError, match="dense_2/bias is nan"):
        cnn_to_arrays(cnn)
    cnn.dense2.bias = nnx.Param(jnp.zeros(4))
    with pytest.raises(WeightsError, match=r"has shape \(4,\)"):
        cnn_to_arrays(cnn)
    mlp = mlp_from_arrays(mlp_arrays())
    mlp.fc2.bias = nnx.Param(jnp.zeros(32, jnp.bfloat16))
    with pytest.raises(WeightsError, match=r"fc2\.bias is bfloat16; expected float32"):
        mlp_to_arrays(mlp)


# The image size


@pytest.mark.parametrize("size", [MIN_IMAGE_SIZE, 64, 299, 600, MAX_IMAGE_SIZE])
def test_every_image_size_is_found_in_the_first_dense_layer(size: int) -> None:
    rows = features_size(size) ** 2 * 64
    smallest = image_size_for(rows) if size != 600 else 598
    assert smallest <= size < smallest + 8
    assert features_size(smallest) == features_size(size) == features_size(smallest + 7)
    assert features_size(smallest - 1) < features_size(size) < features_size(smallest + 8)
    assert image_size_for(rows, size) == size
    for other in (smallest - 1, smallest + 8):
        with pytest.raises(WeightsError, match=f"image_size is {other}"):
            image_size_for(rows, other)


def test_without_other_signs_the_studys_size_is_assumed() -> None:
    assert image_size_for(features_size(600) ** 2 * 64) == 600
    assert image_size_for(64) == MIN_IMAGE_SIZE


def test_larger_ones_are_refused_before_they_are_read() -> None:
    def fail() -> np.ndarray:
        raise AssertionError

    specs: dict[str, Any] = {
        name: Stored(array.shape, "float32", fail) for name, array in cnn_arrays().items()
    }
    for size in (2_054, 10**6, 10**9):
        shape = (features_size(size) ** 2 * 64, 64)
        with pytest.raises(WeightsError, match="more than 2048 are not read"):
            cnn_from_arrays(specs | {"dense_1/kernel": Stored(shape, "float32", fail)})
    # The first tensor is read: the largest network passes all that is judged by the headers.
    shape = (features_size(MAX_IMAGE_SIZE) ** 2 * 64, 64)
    with pytest.raises(AssertionError):
        cnn_from_arrays(specs | {"dense_1/kernel": Stored(shape, "float32", fail)}, MAX_IMAGE_SIZE)


def test_an_image_size_that_is_no_integer_is_an_error() -> None:
    with pytest.raises(TypeError):
        cnn_from_arrays(cnn_arrays(), 22.5)  # type: ignore[arg-type]
