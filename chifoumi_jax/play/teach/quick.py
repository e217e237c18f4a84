"""A classifier of taught pictures in seconds: a linear head on a pretrained network's features."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float32, Int32, UInt8

from chifoumi_jax.backbones import pretrained_backbone
from chifoumi_jax.losses import smoothed_cross_entropy
from chifoumi_jax.models.backbone import Backbone
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.recipes import transfer
from chifoumi_jax.training.heads import train_head
from chifoumi_jax.training.program import Program
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.step import Params, merge_statistics

# One size of batch, so that one is compiled.
_BATCH = 16


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """Somebody asked for it."""


def quick_classifier(
    pixels: UInt8[np.ndarray, "images size size 3"],
    labels: Int32[np.ndarray, " images"],
    classes: Sequence[str],
    progress: Callable[[int, int], None],
) -> Classifier:
    """Train a head of the recipe `transfer` on features that stay.

    Args:
        pixels: As the recipe takes them.
        labels: Their classes.
        classes: Names.
        progress: Called with the number of parts done and of all; may raise `Cancelled`.

    Raises:
        PretrainedError: If there are no pretrained weights.
    """
    extractor, model = _extractor(transfer.image_size)
    weights = _weights(model)
    both = np.concatenate([pixels, pixels[:, :, ::-1]])
    starts = range(0, len(both), _BATCH)
    features = []
    for done, start in enumerate(starts):
        progress(done, len(starts) + 1)
        features.append(_features(extractor, weights, both[start : start + _BATCH]))
    progress(len(starts), len(starts) + 1)
    ((kernel, bias),) = train_head(
        jax.random.key(transfer.seed),
        jnp.asarray(np.concatenate(features)),
        jnp.asarray(np.tile(labels, 2)),
        jnp.ones(len(both)),
        classes=len(classes),
        depth=0,
        loss=smoothed_cross_entropy(transfer.label_smoothing),
    )
    program = program_of(transfer, len(classes))
    found = nnx.clone(model)
    for variable, value in (found.classify.kernel, kernel), (found.classify.bias, bias):
        assert variable is not None
        variable.set_value(value)
    progress(len(starts) + 1, len(starts) + 1)
    return Classifier(transfer, classes, program, _weights(found))


@functools.lru_cache(maxsize=1)
def _extractor(image_size: int) -> tuple[Program, Backbone]:
    model = pretrained_backbone(transfer.model, image_size)
    return program_of(transfer, 1_000), model


def _features(
    program: Program, weights: Params, pixels: UInt8[np.ndarray, "images size size 3"]
) -> Float32[np.ndarray, "images features"]:
    padded = np.zeros((_BATCH * program.devices, *pixels.shape[1:]), np.uint8)
    padded[: len(pixels)] = pixels
    return np.asarray(program.features(weights, padded))[: len(pixels)]


def _weights(model: Backbone) -> Params:
    return merge_statistics(nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat))
