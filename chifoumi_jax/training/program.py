"""Builds what a recipe compiles to: initial state, training steps, evaluation, features.

`training.trainer` runs the functions, and `training.program_cache` keeps the compiled ones. Only
the fields of `Recipe` that its `program_key` contains may be read here.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int32, Key, UInt8, UInt32

from chifoumi_jax import distributed, losses
from chifoumi_jax.backbones import architecture
from chifoumi_jax.data.augment_photos import BY_NAME, photo_augmentation
from chifoumi_jax.data.augment_study import study_mlp_augmentation
from chifoumi_jax.data.pipeline import Batch, Photos, take
from chifoumi_jax.models.backbone import Backbone
from chifoumi_jax.models.network import Network
from chifoumi_jax.optim import keras_adam, scale_by_width, torch_sgd
from chifoumi_jax.recipes import Recipe
from chifoumi_jax.training.step import (
    AXIS,
    NOTHING,
    Noise,
    Params,
    Prepare,
    Scale,
    Sums,
    TrainState,
    make_evaluation,
    make_step,
    matmul_precision,
    scale_keras,
    scale_torch,
    standardize,
    step_key,
)


@dataclasses.dataclass(frozen=True)
class Program:
    """A recipe's functions on the devices. Nothing is computed before one of them is called.

    Attributes:
        mesh: The devices.
        graph: The model without its parameters.
        seeds: `seeds(number)` turns a recipe's seed into two keys: the first is for `init`, the
            second for `noise` and `steps`.
        init: `init(key)` gives the initial state.
        noise: `noise(key, number, size, dropout)` gives all random input of step `number`.
        steps: `steps(state, photos, rows, first, count, key, dropout)` trains on `rows[first]` to
            `rows[first + count - 1]`, one step for each row of photo numbers. It returns the new
            state and the sums of each row; rows that it did not train on have zeros. The given
            state is donated, so the caller must not use it again. `count` is traced, so that one
            compilation serves all counts.
        evaluate: `evaluate(state.weights, batch)` gives probabilities and sums.
        features: `features(state.weights, pixels)` gives the input of the last layer for uint8
            pixels. Only networks that can be pretrained have it.
        learning_rate: The learning rate of a step, counted from 0.
    """

    mesh: Mesh
    graph: nnx.GraphDef[Any]
    seeds: Callable[[int], Key[Array, "2"]]
    init: Callable[[Key[Array, ""]], TrainState]
    noise: Callable[[Key[Array, ""], Int32[Array, ""], int, bool], Noise]
    steps: Any
    evaluate: Any
    features: Any
    learning_rate: Callable[[int], float]

    @property
    def devices(self) -> int:
        """Number of devices that share a batch."""
        return self.mesh.size

    @property
    def replicated(self) -> NamedSharding:
        """The sharding of the state: replicated on each device."""
        return NamedSharding(self.mesh, P())

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and sharding of the state, for reading a checkpoint."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))
        abstract: TrainState = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self.replicated),
            shapes,
        )
        return abstract


def build_model(recipe: Recipe, num_classes: int, rngs: nnx.Rngs) -> Network:
    """The recipe's architecture with its initial weights.

    Raises:
        RecipeError: If no architecture has that name.
    """
    return architecture(recipe.model).build(
        recipe.image_size,
        num_classes,
        dropout_rate=recipe.dropout_rate,
        frozen_stages=recipe.frozen_stages,
        rngs=rngs,
    )


def build_loss(recipe: Recipe) -> losses.Loss:
    """The recipe's loss, from logits."""
    if recipe.loss == "keras":
        return losses.softmax_categorical_crossentropy
    if recipe.loss == "softmax-twice":
        return losses.cross_entropy_of_softmax
    if recipe.label_smoothing:
        return losses.smoothed_cross_entropy(recipe.label_smoothing)
    return losses.cross_entropy


def build_schedule(recipe: Recipe, total_steps: int) -> optax.Schedule:
    """The learning rate by step, counted from 0."""
    if recipe.schedule == "constant":
        return optax.constant_schedule(recipe.learning_rate)
    # A short training warms up for half of its steps at most. The first step already moves the
    # weights, because the warm-up starts above zero. Optax needs at least two steps.
    warmup = min(recipe.warmup_steps, total_steps // 2)
    return optax.warmup_cosine_decay_schedule(
        recipe.learning_rate / (warmup + 1), recipe.learning_rate, warmup, max(total_steps, 2)
    )


def build_optimizer(
    recipe: Recipe, schedule: optax.Schedule, model: Network
) -> optax.GradientTransformation:
    """The recipe's optimiser, for this model's parameters."""
    if recipe.optimizer == "adamw":
        mask = partial(_decays, model)
        adamw = optax.adamw(schedule, weight_decay=recipe.weight_decay, mask=mask)
        clip = optax.clip_by_global_norm(recipe.clip_norm) if recipe.clip_norm else optax.identity()
        return optax.chain(clip, adamw)
    if recipe.optimizer == "torch_sgd":
        return torch_sgd(schedule, recipe.momentum)
    if recipe.wide_layer:
        return optax.chain(keras_adam(schedule), scale_by_width(recipe.wide_layer))
    return keras_adam(schedule)


def build_scale(recipe: Recipe) -> Scale:
    """The function that turns the recipe's pixels into floats in [0, 1]."""
    return scale_torch if recipe.layout == "torch" else scale_keras


def build_input(recipe: Recipe) -> Scale:
    """The function that turns pixels into the network's input, without augmentation."""
    scale = build_scale(recipe)
    return (lambda pixels: standardize(scale(pixels))) if recipe.standardize else scale


def build_prepare(recipe: Recipe) -> Prepare:
    """The function that turns pixels into the training input, with one random key per image."""
    scale = build_scale(recipe)
    # The study augments pixels (uint8) before it scales them; photos are augmented as floats,
    # because changes of light are rounded to whole numbers otherwise.
    if recipe.augmentation == "study-mlp":
        augment = _per_image(study_mlp_augmentation)
        return lambda keys, pixels: scale(augment(keys, pixels))
    if recipe.augmentation in BY_NAME:
        strengths = BY_NAME[recipe.augmentation]
        augment = _per_image(partial(photo_augmentation, strengths=strengths))
        finish = standardize if recipe.standardize else lambda images: images
        return lambda keys, pixels: finish(augment(keys, scale(pixels)))
    finished = build_input(recipe)
    return lambda keys, pixels: finished(pixels)


def build(
    recipe: Recipe,
    num_classes: int,
    total_steps: int,
    mesh: Mesh,
    class_weights: Float[np.ndarray, " classes"] | None = None,
) -> Program:
    """Assemble a recipe's program for these devices.

    All arguments become constants of the program, so a compiled program fits only these.

    Args:
        recipe: The recipe.
        num_classes: Number of classes.
        total_steps: Number of steps of the training; the learning rate depends on it.
        mesh: The devices.
        class_weights: Weight of each class in the training loss; equal by default.
    """
    abstract = nnx.eval_shape(lambda: build_model(recipe, num_classes, nnx.Rngs(0)))
    graph, _ = nnx.split(abstract)
    loss, schedule = build_loss(recipe), build_schedule(recipe, total_steps)
    optimizer = build_optimizer(recipe, schedule, abstract)
    replicated, sharded = NamedSharding(mesh, P()), NamedSharding(mesh, P(AXIS))
    prepare, prepared = build_prepare(recipe), build_input(recipe)
    training_loss = loss if class_weights is None else losses.weighted(loss, class_weights)
    take_step = make_step(
        graph, prepare, training_loss, optimizer, mesh, recipe.precision, recipe.average
    )

    @partial(jax.jit, out_shardings=replicated)
    def keys_of(number: UInt32[Array, ""]) -> Key[Array, "2"]:
        return jax.random.split(jax.random.key(number))

    def seeds(number: int) -> Key[Array, "2"]:
        # uint32, because seeds from 2**31 on overflow int32; one compilation serves all seeds.
        return keys_of(np.uint32(number))

    @partial(jax.jit, out_shardings=replicated)
    def init(key: Key[Array, ""]) -> TrainState:
        model = build_model(recipe, num_classes, nnx.Rngs(key))
        params, statistics = nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat)
        average = params if recipe.average else NOTHING
        return TrainState(
            params, optimizer.init(params), jnp.zeros([], jnp.int32), statistics, average
        )

    def noise(seed: Key[Array, ""], number: Int32[Array, ""], size: int, dropout: bool) -> Noise:
        masks_key, augmentation_key = jax.random.split(step_key(seed, number))
        masks = abstract.draw_masks(masks_key, size) if dropout else None
        return Noise(masks, jax.random.split(augmentation_key, size))

    @partial(
        jax.jit,
        donate_argnums=0,
        static_argnums=6,
        in_shardings=(replicated, replicated, replicated, None, None, replicated),
        out_shardings=replicated,
    )
    def steps(
        state: TrainState,
        photos: Photos,
        rows: Int32[Array, "steps batch"],
        first: Int32[Array, ""],
        count: Int32[Array, ""],
        seed: Key[Array, ""],
        dropout: bool,
    ) -> tuple[TrainState, Sums]:
        def step(i: Array, carry: tuple[TrainState, Sums]) -> tuple[TrainState, Sums]:
            state, found = carry
            batch = jax.lax.with_sharding_constraint(take(photos, rows[i]), sharded)
            state, sums = take_step(state, batch, noise(seed, state.step, rows.shape[1], dropout))
            return state, jax.tree.map(lambda all_sums, one: all_sums.at[i].set(one), found, sums)

        nothing = Sums(*(jnp.zeros(rows.shape[0]) for _ in Sums._fields))
        return jax.lax.fori_loop(first, first + count, step, (state, nothing))

    def shared(images: Any) -> Any:
        # The array, divided between the devices. With one process `jit` divides it itself, which is
        # faster than to make the global array here.
        return distributed.everywhere(images, sharded) if distributed.several() else images

    evaluate_shared = jax.jit(
        make_evaluation(graph, prepared, loss, mesh, recipe.precision, recipe.mirror_test),
        in_shardings=(replicated, sharded),
        out_shardings=replicated,
    )

    def evaluate(weights: Params, batch: Batch) -> tuple[Array, Sums]:
        return evaluate_shared(weights, shared(batch))

    @partial(jax.jit, in_shardings=(replicated, sharded), out_shardings=replicated)
    def features_shared(weights: Params, pixels: Array) -> Array:
        with matmul_precision(recipe.precision):
            model = nnx.merge(graph, weights)
            assert isinstance(model, Backbone)
            return model.features(prepared(pixels))

    def features(weights: Params, pixels: UInt8[np.ndarray, "batch ..."]) -> Array:
        return features_shared(weights, shared(pixels))

    def learning_rate(number: int) -> float:
        return float(schedule(number))

    return Program(mesh, graph, seeds, init, noise, steps, evaluate, features, learning_rate)


def _decays(model: Network, params: Params) -> Params:
    # No weight decay for biases and scales (one value per channel), nor for frozen weights.
    def decays(path: Any, leaf: Array | jax.ShapeDtypeStruct) -> bool:
        names = tuple(part.key for part in path if hasattr(part, "key"))
        return leaf.ndim > 1 and not model.is_frozen(names)

    kernels: Params = jax.tree_util.tree_map_with_path(decays, params)
    return kernels


def _per_image(augment: Callable[[Key[Array, ""], Array], Array]) -> Callable[..., Array]:
    # One key per image, so that the draws do not depend on how the devices share the batch.
    return jax.vmap(lambda key, image: augment(key, image[None])[0])
