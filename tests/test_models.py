import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from chifoumi_jax import CNN, MLP, count_params
from chifoumi_jax.models.cnn import MIN_IMAGE_SIZE, features_size
from chifoumi_jax.models.dropout import dropout
from chifoumi_jax.training.step import standardize


def test_cnn_has_the_studys_number_of_parameters() -> None:
    model = nnx.eval_shape(lambda: CNN(image_size=600, num_classes=3, rngs=nnx.Rngs(0)))
    assert count_params(model) == 21_856_483
    assert {name: count_params(layer) for name, layer in model.layers.items()} == {
        "conv2d_1": 896,
        "conv2d_2": 9_248,
        "conv2d_3": 18_496,
        "dense_1": 21_827_648,
        "dense_2": 195,
    }


def test_mlp_has_the_studys_number_of_parameters() -> None:
    assert count_params(MLP(rngs=nnx.Rngs(0))) == 67_779


@pytest.mark.parametrize("size", [MIN_IMAGE_SIZE, 37, 64])
def test_fused_forward_equals_the_plain_layers(size: int) -> None:
    model = CNN(size, 4, rngs=nnx.Rngs(0))
    images = jax.random.uniform(jax.random.key(1), (3, size, size, 3))
    layers = model.activations(images)
    np.testing.assert_allclose(
        # Ten roundings of float32 on values around 1; measured 2e-7.
        model(images),
        layers["dense_2"],
        atol=2e-6,
    )
    np.testing.assert_allclose(layers["activation_5"].sum(axis=1), 1, atol=1e-6)


def test_cnn_layers_have_the_studys_shapes() -> None:
    model = nnx.eval_shape(lambda: CNN(image_size=600, rngs=nnx.Rngs(0)))
    assert features_size(600) == 73
    assert model.dense1.kernel.shape == (341_056, 64)


def test_cnn_refuses_too_small_images() -> None:
    with pytest.raises(ValueError, match="at least 22"):
        CNN(MIN_IMAGE_SIZE - 1, rngs=nnx.Rngs(0))


def test_mlp_flattens_in_rows_and_clips_the_logits_of_version_2_1() -> None:
    model = MLP(relu_logits=True, rngs=nnx.Rngs(0))
    plain = MLP(rngs=nnx.Rngs(0))
    images = 5 * jax.random.normal(jax.random.key(1), (5, 32, 32))
    assert float(plain(images).min()) < 0 < float(plain(images).max())
    np.testing.assert_array_equal(model(images), jnp.maximum(plain(images), 0))
    for layers, logits in ((model, "relu3"), (plain, "fc3")):
        np.testing.assert_array_equal(layers(images), layers.activations(images)[logits])


def test_cnn_initial_weights_follow_keras() -> None:
    model = CNN(64, rngs=nnx.Rngs(3))
    for layer, fans in (
        (model.conv1, 9 * (3 + 32)),
        (model.conv2, 9 * (32 + 32)),
        (model.dense1, 6 * 6 * 64 + 64),
    ):
        _assert_uniform(layer.kernel[...], (6 / fans) ** 0.5)
        assert layer.bias is not None
        assert not np.any(layer.bias[...])


def test_mlp_initial_weights_follow_torch() -> None:
    model = MLP(rngs=nnx.Rngs(3))
    for layer, fan_in in ((model.fc1, 1024), (model.fc2, 64)):
        _assert_uniform(layer.kernel[...], fan_in**-0.5)
        assert layer.bias is not None
        _assert_uniform(layer.bias[...], fan_in**-0.5)


def _assert_uniform(values: jax.Array, limit: float) -> None:
    scaled = np.asarray(values).ravel() / limit
    assert np.abs(scaled).max() <= 1
    # Five standard errors of the mean and of the mean square of n uniform values. This catches a
    # wrong limit or shape. A correct one fails once in a million seeds, and this seed is fixed.
    error = len(scaled) ** -0.5
    assert abs(scaled.mean()) < 5 * 0.577 * error
    assert abs((scaled**2).mean() - 1 / 3) < 5 * 0.298 * error


def test_dropout_applies_its_mask_and_scales_kept_values() -> None:
    x = jnp.array([[1.0, 2.0, -3.0, 4.0]])
    mask = jnp.array([[True, False, True, True]])
    np.testing.assert_array_equal(dropout(x, mask, 0.5), [[2.0, 0.0, -6.0, 8.0]])
    np.testing.assert_allclose(dropout(x, mask, 0.2), [[1.25, 0.0, -3.75, 5.0]], rtol=1e-6)


def test_masks_keep_the_right_share_and_change_the_output() -> None:
    model = MLP(dropout_rate=0.2, rngs=nnx.Rngs(0))
    masks = model.draw_masks(jax.random.key(0), 1000)
    assert [mask.shape for mask in masks] == [(1000, 64), (1000, 32)]
    # Five standard errors of 64,000 and 32,000 draws.
    assert abs(float(masks[0].mean()) - 0.8) < 0.008
    assert abs(float(masks[1].mean()) - 0.8) < 0.012
    images = jax.random.uniform(jax.random.key(1), (1000, 32, 32))
    assert not np.allclose(model(images), model(images, masks))
    everything = (jnp.ones_like(masks[0]), jnp.ones_like(masks[1]))
    np.testing.assert_allclose(
        model(images, everything),
        _forward_with_everything_kept(model, images),
        # Two roundings of float32 on values around 1.
        atol=1e-5,
    )


def _forward_with_everything_kept(model: MLP, images: jax.Array) -> jax.Array:
    x = jax.nn.relu(model.fc1(images.reshape(len(images), -1))) / 0.8
    return model.fc3(jax.nn.relu(model.fc2(x)) / 0.8)


def test_standardized_images_do_not_depend_on_light_or_tint() -> None:
    images = jax.random.uniform(jax.random.key(0), (4, 9, 7, 3))
    got = standardize(images)
    np.testing.assert_allclose(got.mean(axis=(1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose((got**2).mean(axis=(1, 2, 3)), 1, atol=0.01)
    brighter = 0.5 * images + jnp.array([0.1, 0.2, 0.3])
    # The term of 0.001 that keeps noise small counts twice as much at half the contrast.
    np.testing.assert_allclose(standardize(brighter), got, atol=0.02)
    assert not np.any(standardize(jnp.full((1, 5, 5, 3), 0.25)))
