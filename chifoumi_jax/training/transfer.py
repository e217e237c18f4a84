"""The beginning of a training from pretrained weights: the last layer on features that stay.

Every photo goes through the frozen network once, and its mirror image too; on what comes out the
last layer is trained alone. Only then does the whole network move, and
no random layer pulls at it (Kumar et al. 2022, "Fine-tuning can distort pretrained features").
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float32, Int32, Key, UInt8

from chifoumi_jax.backbones import pretrained_backbone
from chifoumi_jax.data.pipeline import all_batches
from chifoumi_jax.distributed import everywhere
from chifoumi_jax.losses import class_weights, smoothed_cross_entropy
from chifoumi_jax.models.backbone import Backbone
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.heads import train_head
from chifoumi_jax.training.program import Program
from chifoumi_jax.training.step import Params, TrainState, merge_statistics

if TYPE_CHECKING:
    from chifoumi_jax.data.dataset import Dataset, Split

_BATCH = 64


def begin(key: Key[Array, ""], recipe: Recipe, program: Program, data: Dataset) -> TrainState:
    """The state with pretrained weights and, as the recipe says, a trained last layer.

    Raises:
        PretrainedError: If there are no pretrained weights.
    """
    state = with_pretrained(key, recipe, program)
    if not recipe.head_first:
        return state
    features, labels = map(
        jnp.asarray,
        split_features(
            program, state.weights, data.pixels, data.train, mirrored=recipe.mirror_test
        ),
    )
    weights = np.ones(len(data.classes), np.float32)
    if recipe.balance:
        weights = class_weights(data.train.labels, len(data.classes))
    ((kernel, bias),) = train_head(
        jax.random.key(recipe.seed),
        features,
        labels,
        jnp.asarray(weights)[labels],
        classes=len(data.classes),
        depth=0,
        loss=smoothed_cross_entropy(recipe.label_smoothing),
    )
    model = nnx.merge(program.graph, state.weights)
    for variable, value in (model.classify.kernel, kernel), (model.classify.bias, bias):
        assert variable is not None
        variable.set_value(value)
    return _alone(_replaced(state, model), program)


def with_pretrained(key: Key[Array, ""], recipe: Recipe, program: Program) -> TrainState:
    """The state before the first step, with pretrained weights in all layers but the last.

    The last one is zero: drawn at random it would be certain of what is wrong, and its first
    gradients would undo what the layers below know.

    Raises:
        PretrainedError: If there are no pretrained weights.
    """
    graph, weights = nnx.split(pretrained_backbone(recipe.model, recipe.image_size))

    # One program: what the weights take the place of is then neither drawn nor compiled. To compile
    # the drawing took 20 seconds on a GPU.
    @partial(jax.jit, out_shardings=program.replicated)
    def init(key: Key[Array, ""], weights: Params) -> TrainState:
        state = program.init(key)
        model = nnx.merge(program.graph, merge_statistics(state.params, state.statistics))
        assert isinstance(model, Backbone)
        model.load_pretrained(nnx.merge(graph, weights))
        model.classify.kernel.set_value(jnp.zeros_like(model.classify.kernel[...]))
        return _replaced(state, model)

    return _alone(init(key, everywhere(weights, program.replicated)), program)


def split_features(
    program: Program,
    weights: Params,
    pixels: UInt8[np.ndarray, "images ..."],
    split: Split,
    *,
    mirrored: bool,
) -> tuple[Float32[np.ndarray, "images features"], Int32[np.ndarray, " images"]]:
    """What the network makes of a split's photos, then of any mirror images, and the labels."""
    found: list[list[np.ndarray]] = [[], []] if mirrored else [[]]
    for batch in all_batches(pixels, split, _BATCH, program.devices):
        real = np.asarray(batch.weights) > 0
        # Without mirror images the first side alone.
        for half, side in zip(found, (batch.pixels, batch.pixels[:, :, ::-1]), strict=False):
            half.append(np.asarray(program.features(weights, side))[real])
    return np.concatenate([*itertools.chain(*found)]), np.tile(split.labels, len(found))


def _replaced(state: TrainState, model: nnx.Module) -> TrainState:
    params, statistics = nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat)
    average = params if state.average else state.average
    return state._replace(params=params, statistics=statistics, average=average)


def _alone(state: TrainState, program: Program) -> TrainState:
    # The step gives its arguments' memory away: no array may stand in two places.
    trees = everywhere((state.params, state.statistics, state.average), program.replicated)
    params, statistics, average = jax.tree.map(jnp.array, trees)
    return state._replace(params=params, statistics=statistics, average=average)
