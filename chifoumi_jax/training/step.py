"""A training step and an evaluation step, as pure functions, on one device or several."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int32, Key, UInt8

from chifoumi_jax.data.pipeline import Batch
from chifoumi_jax.losses import Loss
from chifoumi_jax.recipes import Precision

Scale = Callable[[UInt8[Array, "batch ..."]], Float[Array, "batch ..."]]
Prepare = Callable[[Any, UInt8[Array, "batch ..."]], Float[Array, "batch ..."]]
Params = nnx.State[Any, Any]
AXIS = "data"
NOTHING: Params = nnx.State({})

# Names in a checkpoint that differ from the fields' names; the checkpoint format fixes them.
STATISTICS = "moments"
_TREES = {"statistics": STATISTICS}

# 1/255 as the sum of two parts. The first has 12 bits, so that its product with a pixel is exact.
_BY_255_HIGH = np.float32(round(2**20 / 255) / 2**20)
_BY_255_LOW = np.float32(1 / 255 - float(_BY_255_HIGH))


class TrainState(NamedTuple):
    """Everything that a training step changes.

    Attributes:
        params: The trained parameters.
        opt_state: The optimiser's state.
        step: Number of steps taken.
        statistics: Running statistics of batch normalisation; empty if the network has none.
        average: Moving average of the parameters; empty if none is kept.
    """

    params: Params
    opt_state: optax.OptState
    step: Int32[Array, ""]
    statistics: Params = NOTHING
    average: Params = NOTHING

    @property
    def weights(self) -> Params:
        """The weights that the network is evaluated with."""
        return merge_statistics(self.average or self.params, self.statistics)

    def trees(self) -> dict[str, Any]:
        """The fields that hold arrays, by their names in a checkpoint."""
        return {
            _TREES.get(name, name): tree
            for name, tree in self._asdict().items()
            if jax.tree.leaves(tree)
        }

    @classmethod
    def from_trees(cls, trees: dict[str, Any]) -> "TrainState":
        """The inverse of `trees`."""
        names = {tree: name for name, tree in _TREES.items()}
        return cls(**{names.get(tree, tree): arrays for tree, arrays in trees.items()})


class Noise(NamedTuple):
    """All random input of a step; an argument, so that it can be repeated and prescribed."""

    masks: tuple[Bool[Array, "batch units"], ...] | None
    augmentation: Any


class Sums(NamedTuple):
    """Sums over a batch's images, without the padding."""

    loss: Float[Array, ""]
    correct: Float[Array, ""]
    images: Float[Array, ""]


def scale_keras(pixels: UInt8[Array, "batch ..."]) -> Float[Array, "batch ..."]:
    """Pixels times float32(1/255), as Keras' `rescale` does."""
    return pixels.astype(jnp.float32) * jnp.float32(1 / 255)


def scale_torch(pixels: UInt8[Array, "batch ..."]) -> Float[Array, "batch ..."]:
    """Pixels / 255, as torchvision's `ToTensor` does.

    Half of the values differ from Keras' scaling in the last bit.
    """
    # XLA turns a division by a constant into a product with its inverse, which is Keras' scaling.
    values = pixels.astype(jnp.float32)
    return values * _BY_255_HIGH + values * _BY_255_LOW


def standardize(
    images: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height width channels"]:
    """Each image minus its channels' means, divided by its standard deviation.

    This removes brightness and tint. With values around zero the first layers learn from the first
    step on. With values in [0, 1] the study's network sometimes needs epochs to leave chance, and
    sometimes does not.
    """
    centred = images - jnp.mean(images, axis=(1, 2), keepdims=True)
    deviation = jnp.sqrt(jnp.mean(centred**2, axis=(1, 2, 3), keepdims=True))
    # 1e-3 keeps the noise of an empty picture small.
    return centred / (deviation + 1e-3)


def device_mesh() -> Mesh:
    """A mesh of all devices of all processes in one axis; each takes its share of a batch."""
    axes = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=axes)


def forward(
    graph: nnx.GraphDef[Any], weights: Params, images: Array, masks: Any, precision: Precision
) -> Float[Array, "batch classes"]:
    """The network's logits, in float32 even if it computes in bfloat16."""
    if precision == "bfloat16":
        weights, images = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (weights, images))
    logits: Array = nnx.merge(graph, weights)(images, masks)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def matmul_precision(precision: Precision) -> Any:
    """A context that gives the matrix products traced in it this precision on an accelerator."""
    # By default JAX takes the accelerator's fastest mode for float32, which is TF32 on a GPU.
    return jax.default_matmul_precision("tensorfloat32" if precision == "tf32" else "float32")


def merge_statistics(params: Params, statistics: Params) -> Params:
    """Parameters and running statistics, merged into one state."""
    joined: Params = nnx.merge_state(params, statistics)
    return joined


def make_step(
    graph: nnx.GraphDef[Any],
    prepare: Prepare,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    precision: Precision = "float32",
    average: float = 0.0,
) -> Callable[[TrainState, Batch, Noise], tuple[TrainState, Sums]]:
    """Make the training step: `step(state, batch, noise)` gives the next state and the sums.

    `prepare(noise.augmentation, pixels)` augments and scales the pixels. The gradient is that of
    the mean loss over the images of non-zero weight. Each device works on its share of the batch,
    and the gradients are summed over the devices before the optimiser gets them. Batch
    normalisation uses its running statistics and does not change them. `average` is the decay of
    the parameters' moving average.
    """

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P(), P(), P(AXIS), P(AXIS)),
        out_specs=(P(), P()),
        check_vma=False,
    )
    def gradients(
        params: Params, statistics: Params, batch: Batch, noise: Noise
    ) -> tuple[Params, Sums]:
        images = prepare(noise.augmentation, jnp.asarray(batch.pixels))
        count = _over_devices(jnp.sum(batch.weights), mesh)

        def mean_loss(params: Params) -> tuple[Array, Sums]:
            logits = forward(
                graph, merge_statistics(params, statistics), images, noise.masks, precision
            )
            sums = _sums(loss, logits, batch)
            return sums.loss / count, sums

        with matmul_precision(precision):
            (_, sums), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
        return _over_devices((grads, sums), mesh)

    def step(state: TrainState, batch: Batch, noise: Noise) -> tuple[TrainState, Sums]:
        grads, sums = gradients(state.params, state.statistics, batch, noise)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        averaged = _follow(state.average, params, average, state.step)
        return TrainState(params, opt_state, state.step + 1, state.statistics, averaged), sums

    return step


def make_evaluation(
    graph: nnx.GraphDef[Any],
    scale: Scale,
    loss: Loss,
    mesh: Mesh,
    precision: Precision = "float32",
    mirror: bool = False,
) -> Callable[[Params, Batch], tuple[Float[Array, "batch classes"], Sums]]:
    """Make the evaluation step: probabilities and sums, without dropout or augmentation.

    With `mirror` the probabilities are the mean over the image and its mirror image.
    """

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P(), P(AXIS)),
        out_specs=(P(AXIS), P()),
        check_vma=False,
    )
    def evaluate(weights: Params, batch: Batch) -> tuple[Array, Sums]:
        with matmul_precision(precision):
            images = scale(jnp.asarray(batch.pixels))
            logits = forward(graph, weights, images, None, precision)
            if mirror:
                mirrored = forward(graph, weights, images[:, :, ::-1], None, precision)
                both = jnp.stack([jax.nn.log_softmax(logits), jax.nn.log_softmax(mirrored)])
                logits = jax.nn.logsumexp(both, axis=0) - jnp.log(2.0)
        return jax.nn.softmax(logits), _over_devices(_sums(loss, logits, batch), mesh)

    return evaluate


def step_key(seed: Key[Array, ""], step: Int32[Array, ""]) -> Key[Array, ""]:
    """The random key of a step's noise: the same whenever the step is taken, on any device."""
    return jax.random.fold_in(seed, step)


def _over_devices(tree: Any, mesh: Mesh) -> Any:
    # With one device XLA would make copies.
    return jax.lax.psum(tree, AXIS) if mesh.size > 1 else tree


def _follow(average: Params, params: Params, decay: float, step: Int32[Array, ""]) -> Params:
    # A smaller decay in the first steps forgets the initial weights sooner, as in TensorFlow's
    # ExponentialMovingAverage.
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    if not average:
        return average
    followed: Params = jax.tree.map(lambda old, new: new + kept * (old - new), average, params)
    return followed


def _sums(loss: Loss, logits: Float[Array, "batch classes"], batch: Batch) -> Sums:
    correct = jnp.argmax(logits, axis=-1) == batch.labels
    return Sums(
        loss=jnp.sum(loss(logits, jnp.asarray(batch.labels)) * batch.weights),
        correct=jnp.sum(correct * batch.weights),
        images=jnp.sum(jnp.asarray(batch.weights)),
    )
