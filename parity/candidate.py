"""The JAX port as replaceable parts, so that each is compared and a fault can be planted in any."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array
from PIL import Image

from chifoumi_jax import losses, recipes
from chifoumi_jax.convert.arrays import (
    cnn_from_arrays,
    cnn_to_arrays,
    mlp_from_arrays,
    mlp_to_arrays,
)
from chifoumi_jax.data.augment_study import flip, rotate
from chifoumi_jax.data.order import Order
from chifoumi_jax.data.pixels import resize_pixels
from chifoumi_jax.metrics import Running
from chifoumi_jax.ops import conv_relu_pool
from chifoumi_jax.optim import keras_adam, torch_sgd
from chifoumi_jax.training.program import build_model
from chifoumi_jax.training.step import scale_keras, scale_torch
from chifoumi_jax.training.summary import Layer, layers
from parity.cases import Batch, Masks, Training
from parity.comparison import Comparison, compare
from reference.legacy import seeded

T = TypeVar("T")
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


def _order(recipe: recipes.Recipe) -> Callable[[int, int, int], Sequence[np.ndarray]]:
    def rows(images: int, batch_size: int, epochs: int) -> list[np.ndarray]:
        order = Order(images, batch_size, epochs, seed=0, kind=recipe.order)
        return [batch[batch >= 0] for batch in (order[step] for step in range(len(order)))]

    return rows


def _printed(batches: Sequence[tuple[float, int]]) -> float:
    running = Running()
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


def cnn_ties(block: Callable[[Array, Array, Array], Array], dtype: str) -> Weights:
    """A convolution with the identity in its middle, so that the tied values reach the ReLU."""
    values = seeded.tied_values(dtype)
    channels = values.shape[-1]
    kernel = np.zeros((3, 3, channels, channels), dtype)
    kernel[1, 1] = np.eye(channels)
    images = jnp.asarray(np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=7))
    pooled, pull_back = jax.vjp(
        lambda x: block(x, jnp.asarray(kernel), jnp.zeros(channels, dtype)), images
    )
    gradient = pull_back(jnp.asarray(seeded.tied_gradient(dtype)))[0]
    return {"pooled": np.asarray(pooled), "gradient": np.asarray(gradient)[:, 1:-1, 1:-1]}


def _mlp_ties(
    from_arrays: Callable[..., Model], logits: Callable[..., Array], dtype: str
) -> Weights:
    """Four pixels go each through one ReLU; all later ones are open."""
    weights = {name: np.zeros(shape, dtype) for name, shape in seeded.mlp_shapes().items()}
    for name in ("fc1.weight", "fc2.weight"):
        weights[name][range(4), range(4)] = 1
    weights["fc2.bias"][:] = 1
    weights["fc3.weight"][0] = 1
    model = from_arrays(weights, 32, dtype)
    images = np.zeros((1, 32, 32), dtype)
    images[0, 0, :4] = (-1, -0.0, 0, 1)
    gradient = jax.grad(lambda x: logits(model, x, None)[0, 0])(jnp.asarray(images))
    return {"relu": np.asarray(gradient)[0, 0, :4]}


def _initial(
    recipe: recipes.Recipe, to_arrays: Callable[[Model], Weights]
) -> Callable[[int], Weights]:
    build = jax.jit(
        lambda key: nnx.state(build_model(recipe, 3, nnx.Rngs(key)), nnx.Param),
    )
    graph, _ = nnx.split(nnx.eval_shape(lambda: build_model(recipe, 3, nnx.Rngs(0))))
    return lambda seed: to_arrays(nnx.merge(graph, build(jax.random.key(seed))))


def _logits(model: Model, images: Array, masks: Any) -> Array:
    logits: Array = model(images, masks)
    return logits


def _candidate(recipe: recipes.Recipe, small: recipes.Recipe, **parts: Any) -> Candidate:
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
        logits=_logits,
        reduce=jnp.mean,
        **parts,
    )


cnn = _candidate(
    recipes.study_cnn,
    recipes.study_cnn.replace(image_size=64),
    scale=scale_keras,
    from_arrays=cnn_from_arrays,
    to_arrays=cnn_to_arrays,
    loss=losses.softmax_categorical_crossentropy,
    optimizer=keras_adam,
    ties=functools.partial(cnn_ties, conv_relu_pool),
)


def _mlp(recipe: recipes.Recipe, **parts: Any) -> Candidate:
    def from_arrays(weights: Weights, image_size: int, dtype: Any) -> Model:
        del image_size
        return mlp_from_arrays(
            weights,
            dtype=dtype,
            relu_logits=recipe.model == "mlp-v21",
            dropout_rate=recipe.dropout_rate,
        )

    return _candidate(
        recipe,
        recipe,
        scale=scale_torch,
        from_arrays=from_arrays,
        to_arrays=mlp_to_arrays,
        optimizer=lambda: torch_sgd(recipe.learning_rate, recipe.momentum),
        ties=functools.partial(_mlp_ties, from_arrays, _logits),
        **parts,
    )


mlp = _mlp(recipes.study_mlp, loss=losses.cross_entropy)
mlp_v21 = _mlp(recipes.study_mlp_v21, loss=losses.cross_entropy_of_softmax)

CANDIDATES = {candidate.name: candidate for candidate in (cnn, mlp, mlp_v21)}


def is_called(name: str, only: str) -> bool:
    """Whether a user who asks for `only` means the candidate of this name."""
    # Both MLPs are "mlp", and no port is "t".
    return f"-{only}-" in f"-{name}-"


def once(*parts: str) -> Callable[[Callable[[Candidate], T]], Callable[[Candidate], T]]:
    """Keep what a function gives for a port, by the parts of the port that it uses.

    A port with a fault in another part has the same result, which need not be computed again.
    """

    def decorate(function: Callable[[Candidate], T]) -> Callable[[Candidate], T]:
        kept = functools.lru_cache(maxsize=2)(function)

        @functools.wraps(function)
        def with_these_parts(candidate: Candidate) -> T:
            used = {part: getattr(candidate, part) for part in parts}
            return kept(CANDIDATES[candidate.name].replace(**used))

        return with_these_parts

    return decorate


def against(
    theirs: Callable[[], Mapping[str, Any]],
    ours: Callable[[Candidate], Mapping[str, Any]],
    *parts: str,
) -> Callable[[Candidate], Comparison]:
    """Compare what a port gives, which depends on `parts` of it alone, with what its original does.

    Both are computed when first asked for, and kept.
    """
    kept, original = once(*parts)(ours), functools.cache(theirs)
    return lambda candidate: compare(kept(candidate), original())


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


def gradients(
    candidate: Candidate, weights: Weights, batch: Batch, size: int, dtype: str
) -> tuple[float, Weights]:
    """The batch's loss, and its gradient for each weight and for the input."""
    graph, state = nnx.split(candidate.from_arrays(weights, size, dtype))
    images = _images(candidate, batch, dtype)

    @jax.jit
    def run(state: Any, images: Array, labels: Array, masks: Any) -> Any:
        return jax.value_and_grad(_objective, argnums=(2, 3))(
            candidate, graph, state, images, labels, masks
        )

    loss, (grads, at_images) = run(state, images, jnp.asarray(batch.labels), batch.masks)
    arrays = dict(candidate.to_arrays(nnx.merge(graph, grads)))
    arrays["input"] = np.asarray(at_images)
    return float(loss), arrays


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
