"""The beginning of a training from pretrained weights: the last layer on features that stay.

Every photo goes through the frozen network once, and its mirror image too; on what comes out the
last layer is trained alone, which is a convex problem. Only then does the whole network move, and
no random layer pulls at it (Kumar et al. 2022, "Fine-tuning can distort pretrained features").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Float32, Int32

from chifoumi_jax.data.pipeline import all_batches
from chifoumi_jax.losses import smoothed_cross_entropy
from chifoumi_jax.models import EfficientNetLite0
from chifoumi_jax.pretrained import pretrained_efficientnet_lite0
from chifoumi_jax.program import Program
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.step import Params, TrainState, join

if TYPE_CHECKING:
    from chifoumi_jax.data.dataset import Dataset, Split

_BATCH = 64
_HEAD_STEPS = 400
_HEAD_RATE = 3e-3


def begin(state: TrainState, recipe: Recipe, program: Program, data: Dataset) -> TrainState:
    """The state with pretrained weights and a last layer trained on the training photos.

    Raises:
        PretrainedError: If there are no pretrained weights.
    """
    model = nnx.merge(program.graph, join(state.params, state.moments))
    take_over(model, pretrained_efficientnet_lite0(recipe.image_size))
    state = _replaced(state, model)
    features, labels = split_features(program, state.weights, data, data.train)
    loss = smoothed_cross_entropy(recipe.label_smoothing)
    head = _trained_head(jnp.asarray(features), jnp.asarray(labels), len(data.classes), loss)
    for variable, value in zip((model.classify.kernel, model.classify.bias), head, strict=True):
        assert variable is not None
        variable.set_value(value)
    return _replaced(state, model)


def take_over(model: EfficientNetLite0, pretrained: EfficientNetLite0) -> None:
    """Give a model all weights and running moments of another one but the last layer's."""
    taken = nnx.state(pretrained)
    del taken["classify"]
    nnx.update(model, taken)


def split_features(
    program: Program, weights: Params, data: Dataset, split: Split
) -> tuple[Float32[np.ndarray, "images features"], Int32[np.ndarray, " images"]]:
    """What the network makes of a split's photos and of their mirror images, and the labels."""
    found: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for batch in all_batches(data.pixels, split, _BATCH, program.devices):
        real = np.asarray(batch.weights) > 0
        for pixels in (batch.pixels, batch.pixels[:, :, ::-1]):
            found.append(np.asarray(program.features(weights, pixels))[real])
            labels.append(np.asarray(batch.labels)[real])
    return np.concatenate(found), np.concatenate(labels)


def _trained_head(
    features: Float[Array, "images features"], labels: Array, classes: int, loss: Any
) -> tuple[Float[Array, "features classes"], Float[Array, " classes"]]:
    # Adam at a falling rate on all images at once, from zero: the problem is convex.
    optimizer = optax.adam(optax.cosine_decay_schedule(_HEAD_RATE, _HEAD_STEPS))

    def mean_loss(head: tuple[Array, Array]) -> Array:
        return jnp.mean(loss(features @ head[0] + head[1], labels))

    @jax.jit
    def train(head: tuple[Array, Array]) -> tuple[Array, Array]:
        def step(carry: Any, _: None) -> tuple[Any, None]:
            head, opt_state = carry
            updates, opt_state = optimizer.update(jax.grad(mean_loss)(head), opt_state)
            return (optax.apply_updates(head, updates), opt_state), None

        (head, _), _ = jax.lax.scan(step, (head, optimizer.init(head)), None, _HEAD_STEPS)
        return head

    return train((jnp.zeros((features.shape[1], classes)), jnp.zeros(classes)))


def _replaced(state: TrainState, model: EfficientNetLite0) -> TrainState:
    params, moments = nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat)
    average = params if state.average else state.average
    # The step gives its arguments' memory away: no array may stand in two places.
    params, moments, average = jax.tree.map(jnp.array, (params, moments, average))
    return state._replace(params=params, moments=moments, average=average)
