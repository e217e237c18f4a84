"""Trains a classifier in seconds: a linear head on a pretrained network's features."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float32, Int32, UInt8

from chifoumi_jax.backbones import pretrained_backbone
from chifoumi_jax.callbacks import OnProgress
from chifoumi_jax.losses import smoothed_cross_entropy
from chifoumi_jax.models.backbone import Backbone
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.recipes import transfer
from chifoumi_jax.training.heads import train_head
from chifoumi_jax.training.program import Program
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.step import Params, merge_statistics

# One batch size for all, so that only one program is compiled.
_BATCH_SIZE = 16


class Cancelled(Exception):  # noqa: N818 - it is not an error
    """The user cancelled the training."""


def quick_classifier(
    pixels: UInt8[np.ndarray, "images size size 3"],
    labels: Int32[np.ndarray, " images"],
    classes: Sequence[str],
    progress: OnProgress,
) -> Classifier:
    """Train the head of the recipe `transfer` on frozen features of the pictures.

    The pictures' mirror images are used too.

    Args:
        pixels: The pictures, as the recipe's network takes them.
        labels: Index into `classes` for each picture.
        classes: Names of the classes.
        progress: Called with the number of finished steps and of all steps; may raise `Cancelled`.

    Raises:
        PretrainedError: If the pretrained weights are not available.
        Cancelled: If `progress` raises it.
    """
    extractor, model = _extractor(transfer.image_size)
    weights = _weights(model)
    with_mirrored = np.concatenate([pixels, pixels[:, :, ::-1]])
    starts = range(0, len(with_mirrored), _BATCH_SIZE)
    features = []
    for done, start in enumerate(starts):
        progress(done, len(starts) + 1)
        batch = with_mirrored[start : start + _BATCH_SIZE]
        features.append(_features(extractor, weights, batch))
    progress(len(starts), len(starts) + 1)
    ((kernel, bias),) = train_head(
        jax.random.key(transfer.seed),
        jnp.asarray(np.concatenate(features)),
        jnp.asarray(np.tile(labels, 2)),
        jnp.ones(len(with_mirrored)),
        classes=len(classes),
        depth=0,
        loss=smoothed_cross_entropy(transfer.label_smoothing),
    )
    program = program_of(transfer, len(classes))
    trained = nnx.clone(model)
    for variable, value in (trained.classify.kernel, kernel), (trained.classify.bias, bias):
        assert variable is not None
        variable.set_value(value)
    progress(len(starts) + 1, len(starts) + 1)
    return Classifier(transfer, classes, program, _weights(trained))


@functools.lru_cache(maxsize=1)
def _extractor(image_size: int) -> tuple[Program, Backbone]:
    model = pretrained_backbone(transfer.model, image_size)
    return program_of(transfer, 1_000), model


def _features(
    program: Program, weights: Params, pixels: UInt8[np.ndarray, "images size size 3"]
) -> Float32[np.ndarray, "images features"]:
    padded = np.zeros((_BATCH_SIZE * program.devices, *pixels.shape[1:]), np.uint8)
    padded[: len(pixels)] = pixels
    return np.asarray(program.features(weights, padded))[: len(pixels)]


def _weights(model: Backbone) -> Params:
    return merge_statistics(nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat))
