"""A JAX port as replaceable parts: each is compared, and a fault can be planted in any."""

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
from parity.cases import Batch, Masks, Training
from parity.slope import Slope

Model = Any
Weights = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A port of one of the study's models.

    Attributes:
        name: Its recipe's name.
        structure: Its layers at the study's size.
        initial: `initial(seed)` draws initial weights, by the original's names and layout.
        resize: From a decoded image to pixels of a size.
        augment: One gray image turned or mirrored: `augment(image, kind, angle)`.
        scale: From pixels to the network's input.
        order: Which of `images` make up each batch: `order(images, batch_size, epochs)`.
        printed: An epoch's metric as the original printed it, from (mean, size) of the batches.
        from_arrays: A model with these weights: `from_arrays(weights, image_size, dtype)`.
        to_arrays: Back.
        outputs: Every layer's output in evaluation mode.
        logits: `logits(model, images, masks)`.
        loss: Each sample's loss from logits and labels.
        reduce: From the samples' losses to what is differentiated.
        optimizer: The optimiser.
        ties: Values and gradients where the values that meet a ReLU or a pooling tie.
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
        """A copy with some parts exchanged."""
        return dataclasses.replace(self, **parts)


def candidate(recipe: recipes.Recipe, small: recipes.Recipe, **parts: Any) -> Candidate:
    """The port that a recipe trains.

    Args:
        recipe: At the study's size.
        small: The same at the size at which today's originals are compared.
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
    """A model's logits; dropout is active if there are masks."""
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
    """Every layer's output, and the logits of the whole model, which must say the same."""
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
    values, whole = run(state, images)
    found = dict(zip(names, map(np.asarray, values), strict=True))
    found["whole"] = np.asarray(whole)
    return found


def gradients(candidate: Candidate, weights: Weights, batch: Batch, size: int, dtype: str) -> Slope:
    """The batch's loss, and its gradient for each weight and for the input."""
    graph, state = nnx.split(candidate.from_arrays(weights, size, dtype))
    images = _images(candidate, batch, dtype)

    @jax.jit
    def run(state: Any, images: Array, labels: Array, masks: Any) -> Any:
        return jax.value_and_grad(_objective, argnums=(2, 3))(
            candidate, graph, state, images, labels, masks
        )

    loss, (grads, at_images) = run(state, images, jnp.asarray(batch.labels), batch.masks)
    weights_gradients = candidate.to_arrays(nnx.merge(graph, grads))
    return Slope(float(loss), weights_gradients, {"input": np.asarray(at_images)})


def optimise(
    candidate: Candidate,
    weights: Weights,
    prescribed: Callable[[int], Weights],
    kept_steps: tuple[int, ...],
    size: int,
    dtype: str,
) -> dict[str, np.ndarray]:
    """Weights and the optimiser's means after some steps with prescribed gradients."""
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
    """Weights and the optimiser's means after the steps that `training` keeps, and each loss."""
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
            means = opt_state if training.with_means else None
            found |= _named(candidate, graph, number, state, means)
    found["loss"] = np.array(jax.device_get(values))
    return found


def predict(
    candidate: Candidate, weights: Weights, pixels: np.ndarray, size: int, dtype: str
) -> np.ndarray:
    """Probabilities, in evaluation mode."""
    model = candidate.from_arrays(weights, size, dtype)
    images = _images(candidate, Batch(pixels, np.zeros(len(pixels))), dtype)
    return np.asarray(jax.nn.softmax(candidate.logits(model, images, None)))


def optimizer_means(opt_state: Any) -> dict[str, Any]:
    """Every `mu`, `nu` and `trace` in an optimiser's state, whatever it is wrapped in."""
    found = {}
    for field in ("mu", "nu", "trace"):
        if hasattr(opt_state, field):
            found[field] = getattr(opt_state, field)
    if not found and isinstance(opt_state, tuple):
        for part in opt_state:
            found |= optimizer_means(part)
    return found


# Kept, so that a step is compiled once for all draws and not for each.
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
    return candidate.scale(batch.pixels).astype(dtype)


def _named(candidate: Candidate, graph: Any, step: int, state: Any, opt_state: Any) -> Weights:
    parts = {"params": state, **optimizer_means(opt_state)}
    return {
        f"{step}/{kind}/{name}": np.array(value)
        for kind, tree in parts.items()
        for name, value in candidate.to_arrays(nnx.merge(graph, tree)).items()
    }
