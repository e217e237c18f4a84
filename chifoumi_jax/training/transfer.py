"""The initial state of a training from pretrained weights: the last layer is trained first.

Every photo and its mirror image go through the frozen network once, and the last layer alone is
trained on these features. The whole network is trained only after that, so that the gradients of a
random last layer do not distort it (Kumar et al. 2022, "Fine-tuning can distort pretrained
features").
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


def initial_state(
    key: Key[Array, ""], recipe: Recipe, program: Program, data: Dataset
) -> TrainState:
    """The state with pretrained weights and, if `recipe.head_first`, a trained last layer.

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
    return _with_own_buffers(_with_weights_of(model, state), program)


def with_pretrained(key: Key[Array, ""], recipe: Recipe, program: Program) -> TrainState:
    """The state before the first step, with pretrained weights in all layers except the last.

    The kernel of the last layer is zero. With random values it would give confident wrong answers,
    and its first gradients would destroy the pretrained weights of the layers below.

    Raises:
        PretrainedError: If there are no pretrained weights.
    """
    graph, weights = nnx.split(pretrained_backbone(recipe.model, recipe.image_size))

    # In one program, so that XLA removes the random weights that are replaced. To compile their
    # initialisation took 20 seconds on a GPU.
    @partial(jax.jit, out_shardings=program.replicated)
    def init(key: Key[Array, ""], weights: Params) -> TrainState:
        state = program.init(key)
        model = nnx.merge(program.graph, merge_statistics(state.params, state.statistics))
        assert isinstance(model, Backbone)
        model.load_pretrained(nnx.merge(graph, weights))
        model.classify.kernel.set_value(jnp.zeros_like(model.classify.kernel[...]))
        return _with_weights_of(model, state)

    return _with_own_buffers(init(key, everywhere(weights, program.replicated)), program)


def split_features(
    program: Program,
    weights: Params,
    pixels: UInt8[np.ndarray, "images ..."],
    split: Split,
    *,
    mirrored: bool,
) -> tuple[Float32[np.ndarray, "views features"], Int32[np.ndarray, " views"]]:
    """Features of a split's photos, followed by those of their mirror images if `mirrored`.

    Returns:
        The features, and the labels in the same order.
    """
    features_of_views: list[list[np.ndarray]] = [[], []] if mirrored else [[]]
    for batch in all_batches(pixels, split, _BATCH, program.devices):
        not_padding = np.asarray(batch.weights) > 0
        views = batch.pixels, batch.pixels[:, :, ::-1]
        # `zip` stops after the first view if there are no mirror images.
        for parts, view in zip(features_of_views, views, strict=False):
            parts.append(np.asarray(program.features(weights, view))[not_padding])
    features = np.concatenate([*itertools.chain(*features_of_views)])
    return features, np.tile(split.labels, len(features_of_views))


def _with_weights_of(model: nnx.Module, state: TrainState) -> TrainState:
    params, statistics = nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat)
    average = params if state.average else state.average
    return state._replace(params=params, statistics=statistics, average=average)


def _with_own_buffers(state: TrainState, program: Program) -> TrainState:
    # The step donates the memory of its arguments, so that no two leaves may share an array.
    trees = everywhere((state.params, state.statistics, state.average), program.replicated)
    params, statistics, average = jax.tree.map(jnp.array, trees)
    return state._replace(params=params, statistics=statistics, average=average)
