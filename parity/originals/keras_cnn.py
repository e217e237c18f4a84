"""The study's CNN in today's Keras and TensorFlow, as an original to compare with."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from chifoumi_jax.convert import from_keras, to_keras
from parity.case import Case
from parity.inputs import Batch, Training, prescribed_gradient
from parity.original import LiveOriginal, OriginalError, summary_statistics
from parity.value_and_grad import ValueAndGrad
from reference import keras_cnn, order, photos
from reference.legacy import seeded


class KerasOriginal(LiveOriginal):
    """Keras 3 on TensorFlow, with the study's loss and Adam (see `reference.keras_cnn`)."""

    file_forms = (".keras", ".h5", ".weights.h5", "live model")

    def __init__(self, case: Case) -> None:
        import keras

        self.case = case
        self.name = f"Keras {keras.__version__}"
        if keras.backend.backend() != "tensorflow":
            raise OriginalError(
                f"Keras runs on {keras.backend.backend()}, but the original needs TensorFlow: "
                "set KERAS_BACKEND=tensorflow"
            )
        self.dropout_rate = float(keras_cnn.build(64).get_layer("dropout_1").rate)

    def settings(self) -> dict[str, int | float]:
        """The study's settings; dropout is active in all epochs."""
        return {
            "image_size": keras_cnn.build().input_shape[1],
            "batch_size": keras_cnn.BATCH_SIZE,
            "epochs": keras_cnn.EPOCHS,
            "dropout_rate": self.dropout_rate,
            "dropout_epochs": -1,
        }

    def structure(self) -> list[tuple[str, str, tuple[int | None, ...], int]]:
        """Layers at the study's image size."""
        return [
            (layer.name, type(layer).__name__, tuple(layer.output.shape), layer.count_params())
            for layer in keras_cnn.build().layers
        ]

    def initial(self, draws: int) -> dict[str, np.ndarray]:
        """Moments of the initial weights."""
        import keras

        names, found = list(seeded.cnn_shapes(64)), []
        for draw in range(draws):
            keras.utils.set_random_seed(1000 + draw)
            found.append(dict(zip(names, keras_cnn.build(64).get_weights(), strict=True)))
        return {
            name: np.array([summary_statistics(draw[name]) for draw in found]) for name in names
        }

    def pixels(self) -> dict[str, np.ndarray]:
        """The loader's pixels for the pictures and sizes of `seeded.RESIZES`."""
        return {
            f"pixels/{number}": photos.keras_resize(Image.fromarray(seeded.decoded(number)), size)
            for number, (_, size) in enumerate(seeded.RESIZES)
        }

    def scaled(self) -> dict[str, np.ndarray]:
        """The network's input for each of the 256 values of a pixel."""
        return {"every value": keras_cnn.scale(np.arange(256, dtype=np.uint8))}

    def order(self, images: int, batch_size: int, steps: int) -> list[int]:
        """Sizes of the first `steps` batches."""
        shown = order.batches(images, batch_size, np.arange)
        return [len(next(shown)) for _ in range(steps)]

    def forward(self, size: int, dtype: str) -> dict[str, np.ndarray]:
        """Every layer's output on the case's first batch."""
        pixels, _ = seeded.cnn_batch(size, 0)
        found = keras_cnn.outputs(_model(size, dtype), _images(pixels, dtype))
        named = {name: np.asarray(value) for name, value in found.items()}
        return {**named, "whole": named["activation_5"]}

    def gradients(self, size: int, dtype: str, batch: Batch) -> ValueAndGrad:
        """Loss and gradients on one batch."""
        model = _model(size, dtype)
        images = tf.constant(_images(batch.pixels, dtype))
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = _loss(model, images, batch, dtype)
        weights = model.trainable_variables
        *found, images_gradient = tape.gradient(loss, [*[w.value for w in weights], images])
        named = dict(zip(seeded.cnn_shapes(size), map(np.asarray, found), strict=True))
        return ValueAndGrad(float(loss), named, {"input": np.asarray(images_gradient)})

    def load(self, path: Path, size: int) -> np.ndarray:
        """A photo's RGB pixels, resized with NEAREST."""
        return photos.keras_pixels(path, size)

    def through_file(
        self, weights: Mapping[str, np.ndarray], form: str, folder: Path
    ) -> tuple[Any, Mapping[str, np.ndarray]]:
        """Weights to JAX through a file that Keras saved, and back through one that Keras loads."""
        size = self.case.size
        original = keras_cnn.build(size)
        original.set_weights(list(weights.values()))
        source: Any = original
        if form == ".weights.h5":
            source = folder / "model.weights.h5"
            original.save_weights(source)
        elif form != "live model":
            source = folder / f"model{form}"
            original.save(source)
        model = from_keras(source, image_size=size)
        again = keras_cnn.build(size)
        if form == "live model":
            to_keras(model, again)
        else:
            to_keras(model, folder / "back.weights.h5")
            again.load_weights(folder / "back.weights.h5")
        return model, dict(zip(weights, again.get_weights(), strict=True))

    def losses(self, dtype: str) -> dict[str, np.ndarray]:
        """Loss and gradient on logits that saturate and tie."""
        logits, labels = seeded.loss_logits(dtype)
        x = tf.constant(logits)
        with tf.GradientTape() as tape:
            tape.watch(x)
            targets = np.eye(3, dtype=dtype)[labels]
            loss = keras_cnn.categorical_crossentropy(targets, tf.nn.softmax(x))
        return {"value": np.asarray(loss), "gradient": np.asarray(tape.gradient(loss, x))}

    def ties(self, dtype: str) -> dict[str, np.ndarray]:
        """Pooled values and their gradient, where the inputs tie."""
        x = tf.constant(seeded.tied_values(dtype))
        with tf.GradientTape() as tape:
            tape.watch(x)
            pooled = tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID")
        gradient = tape.gradient(pooled, x, tf.constant(seeded.tied_gradient(dtype)))
        return {"pooled": np.asarray(pooled), "gradient": np.asarray(gradient)}

    def optimise(self, dtype: str, kept_steps: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Weights and Adam's accumulators after steps with prescribed gradients."""
        shapes = seeded.cnn_shapes(64)
        weights = seeded.cnn_weights(64, dtype)
        variables = [tf.Variable(value) for value in weights.values()]
        adam = keras_cnn.StudyAdam()
        adam.build(variables)
        # Compiled like the training's step; one by one, its operations take three times as long.
        apply = tf.function(lambda gradients: adam.apply(gradients, variables))
        found: dict[str, np.ndarray] = {}
        for number in range(max(kept_steps)):
            grads = [prescribed_gradient(name, s, number, dtype) for name, s in shapes.items()]
            apply([tf.constant(g) for g in grads])
            if number + 1 in kept_steps:
                found |= _named(number + 1, variables, adam)
        return found

    def train(self, training: Training, dtype: str) -> dict[str, np.ndarray]:
        """Weights and Adam's accumulators after the kept steps, and each step's loss."""
        model, adam, step = _compiled(training.image_size, dtype)
        model.set_weights(list(training.weights.values()))
        for variable in adam.variables:
            # The learning rate is a variable too.
            if variable is not adam._learning_rate:
                variable.assign(tf.zeros_like(variable.value))
        found: dict[str, np.ndarray] = {}
        losses = []
        for number, batch in enumerate(training.batches, start=1):
            targets = np.eye(3, dtype=dtype)[batch.labels]
            mask = batch.masks[0] if batch.masks else np.ones((len(targets), 64), bool)
            loss, _ = step(_images(batch.pixels, dtype), targets, mask)
            losses.append(np.asarray(loss))
            if number in training.kept_steps:
                kept = adam if training.with_accumulators else None
                found |= _named(number, model.trainable_variables, kept)
        return {**found, "loss": np.array(losses)}

    def predict(
        self, weights: Mapping[str, np.ndarray], pixels: np.ndarray, dtype: str
    ) -> np.ndarray:
        """Probabilities, in evaluation mode, at 64 pixels."""
        model = keras_cnn.build(64, dtype=dtype, dropout=0.5)
        model.set_weights([weights[name] for name in seeded.cnn_shapes(64)])
        return np.asarray(model(_images(pixels, dtype), training=False))


def _model(size: int, dtype: str) -> Any:
    model = keras_cnn.build(size, dtype=dtype)
    model.set_weights(list(seeded.cnn_weights(size, dtype).values()))
    return model


# Two, because the checks in float32 train in float64 too.
@functools.lru_cache(maxsize=2)
def _compiled(size: int, dtype: str) -> tuple[Any, Any, Any]:
    """A network, its optimiser and its training step, which takes two seconds to trace."""
    model, adam = keras_cnn.build(size, dtype=dtype), keras_cnn.StudyAdam()
    return model, adam, keras_cnn.make_step(model, adam)


def _images(pixels: np.ndarray, dtype: str) -> np.ndarray:
    return keras_cnn.scale(pixels).astype(dtype)


def _loss(model: Any, images: Any, batch: Batch, dtype: str) -> Any:
    mask = batch.masks[0] if batch.masks else None
    probabilities = keras_cnn.outputs(model, images, mask)["activation_5"]
    targets = np.eye(3, dtype=dtype)[batch.labels]
    return tf.reduce_mean(keras_cnn.categorical_crossentropy(targets, probabilities))


def _named(step: int, variables: Any, adam: Any) -> dict[str, np.ndarray]:
    import keras

    parts = {"params": variables}
    if adam is not None:
        parts |= {"mu": adam._momentums, "nu": adam._velocities}
    return {
        f"{step}/{kind}/{name}": np.array(keras.ops.convert_to_numpy(value))
        for kind, values in parts.items()
        for name, value in zip(seeded.cnn_shapes(64), values, strict=True)
    }
