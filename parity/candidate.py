"""A JAX port as replaceable parts: each part is compared, and a fault can be planted in each."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array
from PIL import Image

from chifoumi_jax import losses, recipes
from chifoumi_jax.data.augment_study import flip, rotate
from chifoumi_jax.data.order import Order
from chifoumi_jax.data.pixels import resize_pixels
from chifoumi_jax.metrics import RunningMean
from chifoumi_jax.training.program import build_model
from chifoumi_jax.training.summary import Layer, layers
from parity.inputs import Batch, Masks, Training
from parity.value_and_grad import ValueAndGrad

Model = Any
Weights = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A port of one of the study's models.

    Attributes:
        name: Name of the recipe.
        structure: Returns the layers at the study's image size.
        initial: `initial(seed)` draws initial weights, by the original's names and layout.
        resize: `resize(image, size)` converts a decoded image to pixels of that size.
        augment: `augment(image, kind, angle)` rotates or mirrors one gray image.
        scale: Converts pixels to the network's input.
        order: `order(images, batch_size, epochs)` returns the indices of each batch's images.
        printed: Returns an epoch's metric as the original printed it, from the (mean, size) of each
            batch.
        from_arrays: `from_arrays(weights, image_size, dtype)` returns a model with these weights.
        to_arrays: Returns a model's weights; the inverse of `from_arrays`.
        outputs: Returns every layer's output in evaluation mode.
        logits: `logits(model, images, masks)` returns the logits.
        loss: Returns each sample's loss, from logits and labels.
        reduce: Reduces the samples' losses to the scalar that is differentiated.
        optimizer: Makes the optimiser.
        ties: Returns values and gradients where the inputs of a ReLU or a pooling window tie.
    """

    name: str
    structure: Callable[[], Sequence[Layer]]
    initial: Callable[[int], Weights]
    resize: Callable[[Image.Image, int], np.ndarray]
    augment: Callable[[np.ndarray, str, str], np.ndarray]
    scale: Callable[[Any], Array]
    order: Callable[[int, int, int], Sequence[np.ndarray]]
    printed: Callable[[Sequence[tuple[float, int]]], float]
    from_arrays: Callable[[Weights, int, Any], Model]
    to_arrays: Callable[[Model], Weights]
    outputs: Callable[[Model, Array], Mapping[str, Array]]
    logits: Callable[[Model, Array, Any], Array]
    loss: losses.Loss
    reduce: Callable[[Array], Array]
    optimizer: Callable[[], optax.GradientTransformation]
    ties: Callable[[str], Weights]

    def replace(self, **parts: Any) -> "Candidate":
        """A copy with some parts replaced."""
        return dataclasses.replace(self, **parts)


def candidate(recipe: recipes.Recipe, small: recipes.Recipe, **parts: Any) -> Candidate:
    """The port that a recipe trains.

    Args:
        recipe: The recipe at the study's image size.
        small: The same recipe at the image size at which today's originals are compared.
        parts: The parts that differ between models.
    """
    layout = recipe.layout
    return Candidate(
        name=recipe.name,
        structure=lambda: layers(recipe),
        initial=_initial(small, parts["to_arrays"]),
        resize=lambda image, size: resize_pixels(image, size, layout),
        augment=_augment,
        order=_order(recipe),
        printed=_printed,
        outputs=lambda model, images: model.activations(images),
        logits=logits,
        reduce=jnp.mean,
        **parts,
    )


def logits(model: Model, images: Array, masks: Any) -> Array:
    """A model's logits; dropout is active if masks are given."""
    found: Array = model(images, masks)
    return found


def _order(recipe: recipes.Recipe) -> Callable[[int, int, int], Sequence[np.ndarray]]:
    def rows(images: int, batch_size: int, epochs: int) -> list[np.ndarray]:
        order = Order(images, batch_size, epochs, seed=0, kind=recipe.order)
        return [batch[batch >= 0] for batch in (order[step] for step in range(len(order)))]

    return rows


def _printed(batches: Sequence[tuple[float, int]]) -> float:
    running = RunningMean()
    for mean, size in batches:
        running.add(mean * size, size)
    return running.printed


def _augment(image: np.ndarray, kind: str, angle: str) -> np.ndarray:
    one = jnp.asarray(image)[None]
    if kind == "turned":
        return np.asarray(rotate(one, [float(angle)])[0])
    return np.asarray(
        flip(one, jnp.array([kind == "mirrored"]), jnp.array([kind != "mirrored"]))[0]
    )


def _initial(
    recipe: recipes.Recipe, to_arrays: Callable[[Model], Weights]
) -> Callable[[int], Weights]:
    build = jax.jit(
        lambda key: nnx.state(build_model(recipe, 3, nnx.Rngs(key)), nnx.Param),
    )
    graph, _ = nnx.split(nnx.eval_shape(lambda: build_model(recipe, 3, nnx.Rngs(0))))
    return lambda seed: to_arrays(nnx.merge(graph, build(jax.random.key(seed))))


def forward(candidate: Candidate, weights: Weights, batch: Batch, size: int, dtype: str) -> Weights:
    """Every layer's output, and as "whole" the model's probabilities, which must agree."""
    model = candidate.from_arrays(weights, size, dtype)
    images = _images(candidate, batch, dtype)
    graph, state = nnx.split(model)

    @jax.jit
    def run(state: Any, images: Array) -> tuple[list[Array], Array]:
        model = nnx.merge(graph, state)
        outputs = candidate.outputs(model, images)
        names.extend(outputs)
        return list(outputs.values()), jax.nn.softmax(candidate.logits(model, images, None))

    names: list[str] = []
    values, probabilities = run(state, images)
    found = dict(zip(names, map(np.asarray, values), strict=True))
    found["whole"] = np.asarray(probabilities)
    return found


def gradients(
    candidate: Candidate, weights: Weights, batch: Batch, size: int, dtype: str
) -> ValueAndGrad:
    """The batch's loss, and its gradients with respect to each weight and to the input."""
    graph, state = nnx.split(candidate.from_arrays(weights, size, dtype))
    images = _images(candidate, batch, dtype)

    @jax.jit
    def run(state: Any, images: Array, labels: Array, masks: Any) -> Any:
        return jax.value_and_grad(_objective, argnums=(2, 3))(
            candidate, graph, state, images, labels, masks
        )

    loss, (grads, images_gradient) = run(state, images, jnp.asarray(batch.labels), batch.masks)
    weights_gradients = candidate.to_arrays(nnx.merge(graph, grads))
    return ValueAndGrad(float(loss), weights_gradients, {"input": np.asarray(images_gradient)})


def optimise(
    candidate: Candidate,
    weights: Weights,
    prescribed: Callable[[int], Weights],
    kept_steps: tuple[int, ...],
    size: int,
    dtype: str,
) -> dict[str, np.ndarray]:
    """Weights and the optimiser's accumulators after `kept_steps`, with prescribed gradients."""
    graph, state = nnx.split(candidate.from_arrays(weights, size, dtype))
    opt_state = candidate.optimizer().init(state)
    step = _optimizer_step(candidate)
    found: dict[str, np.ndarray] = {}
    for number in range(max(kept_steps)):
        grads = nnx.split(candidate.from_arrays(prescribed(number), size, dtype))[1]
        state, opt_state = step(state, opt_state, grads)
        if number + 1 in kept_steps:
            found |= _named(candidate, graph, number + 1, state, opt_state)
    return found


def train(candidate: Candidate, training: Training, dtype: str) -> dict[str, np.ndarray]:
    """Weights and the optimiser's accumulators after `training.kept_steps`, and each loss."""
    graph, state = nnx.split(candidate.from_arrays(training.weights, training.image_size, dtype))
    opt_state = candidate.optimizer().init(state)
    step = _training_step(candidate, graph)
    found: dict[str, np.ndarray] = {}
    values = []
    for number, batch in enumerate(training.batches, start=1):
        images = _images(candidate, batch, dtype)
        labels = jnp.asarray(batch.labels)
        state, opt_state, loss = step(state, opt_state, images, labels, batch.masks)
        values.append(loss)
        if number in training.kept_steps:
            kept = opt_state if training.with_accumulators else None
            found |= _named(candidate, graph, number, state, kept)
    found["loss"] = np.array(jax.device_get(values))
    return found


def predict(
    candidate: Candidate, weights: Weights, pixels: np.ndarray, size: int, dtype: str
) -> np.ndarray:
    """Probabilities, in evaluation mode."""
    model = candidate.from_arrays(weights, size, dtype)
    images = _images(candidate, Batch(pixels, np.zeros(len(pixels))), dtype)
    return np.asarray(jax.nn.softmax(candidate.logits(model, images, None)))


def optimizer_accumulators(opt_state: Any) -> dict[str, Any]:
    """The accumulators `mu`, `nu` and `trace` in an optimiser's state, at any nesting depth."""
    found = {}
    for field in ("mu", "nu", "trace"):
        if hasattr(opt_state, field):
            found[field] = getattr(opt_state, field)
    if not found and isinstance(opt_state, tuple):
        for part in opt_state:
            found |= optimizer_accumulators(part)
    return found


# Cached, so that a step is compiled once for all draws.
@functools.lru_cache(maxsize=4)
def _training_step(candidate: Candidate, graph: Any) -> Callable[..., Any]:
    optimizer = candidate.optimizer()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(state: Any, opt_state: Any, images: Array, labels: Array, masks: Any) -> Any:
        loss, grads = jax.value_and_grad(_objective, argnums=2)(
            candidate, graph, state, images, labels, masks
        )
        updates, opt_state = optimizer.update(grads, opt_state, state)
        return optax.apply_updates(state, updates), opt_state, loss

    return step


@functools.lru_cache(maxsize=4)
def _optimizer_step(candidate: Candidate) -> Callable[..., Any]:
    optimizer = candidate.optimizer()

    @jax.jit
    def step(state: Any, opt_state: Any, grads: Any) -> Any:
        updates, opt_state = optimizer.update(grads, opt_state, state)
        return optax.apply_updates(state, updates), opt_state

    return step


def _objective(
    candidate: Candidate, graph: Any, state: Any, images: Array, labels: Array, masks: Masks | None
) -> Array:
    logits = candidate.logits(nnx.merge(graph, state), images, masks)
    return candidate.reduce(candidate.loss(logits, labels))


def _images(candidate: Candidate, batch: Batch, dtype: str) -> Array:
    return candidate.scale(jnp.asarray(batch.pixels)).astype(dtype)


def _named(candidate: Candidate, graph: Any, step: int, state: Any, opt_state: Any) -> Weights:
    parts = {"params": state, **optimizer_accumulators(opt_state)}
    return {
        f"{step}/{kind}/{name}": np.array(value)
        for kind, tree in parts.items()
        for name, value in candidate.to_arrays(nnx.merge(graph, tree)).items()
    }
