"""Models from and to flat arrays: every bit is kept, and invalid arrays are refused."""

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
from chifoumi_jax.convert.untrusted.stored import StoredTensor
from chifoumi_jax.models.cnn import MIN_IMAGE_SIZE, features_size
from tests.weights import Arrays, assert_same_bits, cnn_arrays, mlp_arrays


@pytest.mark.parametrize(("image_size", "num_classes"), [(22, 3), (37, 2), (64, 7)])
def test_cnn_weights_round_trip_bit_for_bit(image_size: int, num_classes: int) -> None:
    arrays = cnn_arrays(image_size, num_classes)
    model = cnn_from_arrays(arrays, image_size, dropout_rate=0.25)
    assert (model.image_size, model.num_classes, model.dropout_rate) == (
        image_size,
        num_classes,
        0.25,
    )
    assert_same_bits(cnn_to_arrays(model), arrays)


def test_mlp_weights_round_trip_bit_for_bit() -> None:
    arrays = mlp_arrays(num_classes=5)
    model = mlp_from_arrays(arrays, relu_logits=True, dropout_rate=0)
    assert (model.num_classes, model.relu_logits, model.dropout_rate) == (5, True, 0)
    assert_same_bits(mlp_to_arrays(model), arrays)
    np.testing.assert_array_equal(model.fc1.kernel[...], arrays["fc1.weight"].T)


def test_array_names_match_the_layer_names() -> None:
    cnn = nnx.eval_shape(lambda: CNN(22, rngs=nnx.Rngs(0)))
    mlp = nnx.eval_shape(lambda: MLP(rngs=nnx.Rngs(0)))
    assert [name.split("/")[0] for name in CNN_NAMES[::2]] == list(cnn.layers)
    assert [name.split(".")[0] for name in MLP_NAMES[::2]] == list(mlp.layers)


def test_a_loaded_model_equals_one_created_with_the_same_weights() -> None:
    loaded = cnn_from_arrays(cnn_arrays(37, 4), 37)
    described = nnx.eval_shape(lambda: CNN(37, 4, rngs=nnx.Rngs(0)))
    assert nnx.graphdef(loaded) == nnx.graphdef(described)
    created = MLP(rngs=nnx.Rngs(0))
    copied = mlp_from_arrays(mlp_to_arrays(created))
    assert nnx.graphdef(copied) == nnx.graphdef(created)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(copied), nnx.state(created))
    images = jax.random.uniform(jax.random.key(0), (2, 32, 32))
    np.testing.assert_array_equal(nnx.jit(copied)(images), nnx.jit(created)(images))


def test_the_model_does_not_share_memory_with_the_arrays() -> None:
    # Large enough that JAX copies the arrays in the background.
    arrays = {name: np.ascontiguousarray(array) for name, array in cnn_arrays(150).items()}
    model = cnn_from_arrays(arrays)
    for array in arrays.values():
        array[...] = 7
    assert_same_bits(cnn_to_arrays(model), cnn_arrays(150))


def test_arrays_may_have_any_memory_layout() -> None:
    arrays = {name: np.asfortranarray(array) for name, array in mlp_arrays().items()}
    assert_same_bits(mlp_to_arrays(mlp_from_arrays(arrays)), mlp_arrays())
    on_device = {name: jnp.asarray(array) for name, array in mlp_arrays().items()}
    assert_same_bits(mlp_to_arrays(mlp_from_arrays(on_device)), mlp_arrays())


def test_float64_needs_jax_with_64_bits() -> None:
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
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(WeightsError, match="expected float32 or float64"):
        mlp_from_arrays(mlp_arrays(), dtype=jnp.bfloat16 if dtype == "bfloat16" else dtype)


def set_array(name: str, value: Any) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = value

    return change


def set_value(name: str, index: tuple[int, ...], value: float) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value

    return change


def zeros(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.zeros(shape, dtype)


SIGNALING_NAN = np.frombuffer(b"\x01\x00\xa0\x7f", "<f4")[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.clear(), "conv2d_1/kernel is missing; found nothing"),
        (lambda arrays: arrays.pop("dense_2/bias"), "dense_2/bias is missing"),
        (set_array("dense_3/bias", zeros(3)), "dense_3/bias is not part of the network"),
        (set_array("conv2d_1/kernel", zeros(5, 5, 3, 32)), r"expected \(3, 3, 3, 32\)"),
        (set_array("conv2d_2/kernel", zeros(3, 3, 32, 64)), r"expected \(3, 3, 32, 32\)"),
        (
            set_array("conv2d_3/bias", zeros(32)),
            r"conv2d_3/bias has shape \(32,\); expected \(64,\)",
        ),
        (set_array("conv2d_3/bias", zeros(64, 1)), r"conv2d_3/bias has shape \(64, 1\)"),
        (set_array("dense_1/kernel", zeros(64)), "expected two axes"),
        (set_array("dense_1/kernel", zeros(65, 64)), "no square image"),
        (set_array("dense_1/kernel", zeros(0, 64)), "no square image"),
        (set_array("dense_1/kernel", zeros(128, 64)), "no square image"),
        (set_array("dense_2/kernel", zeros(64, 0)), "0 classes"),
        (set_array("dense_2/kernel", zeros(64, 10_001)), "10001 classes"),
        (set_array("dense_2/kernel", zeros(64, 4)), r"dense_2/bias has shape \(3,\)"),
        (set_array("dense_1/bias", zeros(64, dtype="float64")), "is float64; expected float32"),
        (set_array("dense_1/bias", zeros(64, dtype=">f4")), "is >f4; expected float32"),
        (set_array("dense_1/bias", zeros(64, dtype="int32")), "is int32"),
        (set_array("dense_1/bias", zeros(64).astype(object)), "is object"),
        (set_array("dense_1/bias", [0.0] * 64), "is of the type list; expected an array"),
        (set_array("dense_1/bias", None), "is of the type NoneType"),
        (
            set_value("conv2d_2/kernel", (1, 2, 3, 4), np.nan),
            r"conv2d_2/kernel is nan at \[1, 2, 3",
        ),
        (set_value("dense_1/bias", (63,), np.inf), r"dense_1/bias is inf at \[63\]"),
        (set_value("dense_1/kernel", (5, 0), -np.inf), r"dense_1/kernel is -inf at \[5, 0\]"),
        (set_value("dense_2/bias", (0,), SIGNALING_NAN), r"dense_2/bias is nan at \[0\]"),
    ],
)
def test_invalid_cnn_arrays_are_refused_by_name(
    change: Callable[[Arrays], Any], message: str
) -> None:
    arrays = cnn_arrays()
    change(arrays)
    with pytest.raises(WeightsError, match=message):
        cnn_from_arrays(arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("fc1.weight"), "fc1.weight is missing"),
        (set_array("fc4.bias", zeros(3)), "fc4.bias is not part of the network"),
        (set_array("fc1.weight", zeros(1024, 64)), r"\(1024, 64\); expected \(64, 1024\)"),
        (set_array("fc3.weight", zeros(32)), "expected two axes"),
        (set_array("fc2.bias", zeros(32, dtype="float16")), "is float16"),
        (set_value("fc2.weight", (3, 4), np.nan), r"fc2.weight is nan at \[3, 4\]"),
    ],
)
def test_invalid_mlp_arrays_are_refused_by_name(
    change: Callable[[Arrays], Any], message: str
) -> None:
    arrays = mlp_arrays()
    change(arrays)
    with pytest.raises(WeightsError, match=message):
        mlp_from_arrays(arrays)


def test_an_invalid_model_is_not_written() -> None:
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


# Image size


@pytest.mark.parametrize("size", [MIN_IMAGE_SIZE, 64, 299, 600, MAX_IMAGE_SIZE])
def test_the_image_size_is_found_from_the_first_dense_layer(size: int) -> None:
    rows = features_size(size) ** 2 * 64
    smallest = image_size_for(rows) if size != 600 else 598
    assert smallest <= size < smallest + 8
    assert features_size(smallest) == features_size(size) == features_size(smallest + 7)
    assert features_size(smallest - 1) < features_size(size) < features_size(smallest + 8)
    assert image_size_for(rows, size) == size
    for other in (smallest - 1, smallest + 8):
        with pytest.raises(WeightsError, match=f"image_size is {other}"):
            image_size_for(rows, other)


def test_the_default_image_size_is_600_if_it_fits() -> None:
    assert image_size_for(features_size(600) ** 2 * 64) == 600
    assert image_size_for(64) == MIN_IMAGE_SIZE


def test_too_large_networks_are_refused_before_they_are_read() -> None:
    def fail() -> np.ndarray:
        raise AssertionError

    stored_tensors: dict[str, Any] = {
        name: StoredTensor(array.shape, "float32", fail) for name, array in cnn_arrays().items()
    }
    for size in (2_054, 10**6, 10**9):
        shape = (features_size(size) ** 2 * 64, 64)
        with pytest.raises(WeightsError, match="more than 2048 are not read"):
            cnn_from_arrays(
                stored_tensors | {"dense_1/kernel": StoredTensor(shape, "float32", fail)}
            )
    # The largest network passes all checks of the headers, so the first tensor is read.
    shape = (features_size(MAX_IMAGE_SIZE) ** 2 * 64, 64)
    with pytest.raises(AssertionError):
        cnn_from_arrays(
            stored_tensors | {"dense_1/kernel": StoredTensor(shape, "float32", fail)},
            MAX_IMAGE_SIZE,
        )


@pytest.mark.usefixtures("unchecked_types")
def test_a_non_integer_image_size_is_an_error() -> None:
    with pytest.raises(TypeError):
        cnn_from_arrays(cnn_arrays(), 22.5)  # type: ignore[arg-type]
