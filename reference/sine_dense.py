"""The study's dense network in Keras, which fits a sine with 63,000 updates of one point each.

python -m reference.sine_dense [--seed 0] [--epochs 1000]
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from reference.run import Run

EPOCHS = 1_000
LEARNING_RATE = 0.01


def points() -> tuple[np.ndarray, np.ndarray]:
    """The angles 0, 0.1, ..., 6.2 and their sines, `[63, 1]` each."""
    angles = np.arange(0, 6.3, 0.1)
    return angles.astype(np.float32)[:, None], np.sin(angles).astype(np.float32)[:, None]


class StudySGD(keras.optimizers.SGD):
    """Plain SGD in the dtype of the variables; Keras' own holds its learning rate as float32."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        del learning_rate
        step = tf.constant(LEARNING_RATE, gradient.dtype) * gradient
        self.assign(variable, tf.convert_to_tensor(variable) - step)


def build(dtype: str = "float32") -> keras.Sequential:
    """Dense layers of 5, 5 and 1 units; tanh after the first two."""
    return keras.Sequential(
        [
            keras.Input((1,), dtype=dtype),
            keras.layers.Dense(5, activation="tanh", name="dense_1", dtype=dtype),
            keras.layers.Dense(5, activation="tanh", name="dense_2", dtype=dtype),
            keras.layers.Dense(1, name="dense_3", dtype=dtype),
        ]
    )


def make_epoch(model: keras.Sequential) -> Callable[[Any, Any], Any]:
    """`epoch(x, y)`, which updates the network for each point in turn; returns their mean loss."""
    optimizer = StudySGD()
    optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def epoch(x: Any, y: Any) -> Any:
        total = tf.zeros((), y.dtype)
        for i in tf.range(tf.shape(x)[0]):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(model(x[i : i + 1]) - y[i : i + 1]))
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            total += loss
        return total / tf.cast(tf.shape(x)[0], y.dtype)

    return epoch


def main(arguments: Sequence[str] | None = None) -> None:
    """Train with `fit`, as the study did, and print its figure."""
    run = Run("sine_dense", __doc__, arguments, epochs={"default": EPOCHS})
    keras.utils.set_random_seed(run.seed)
    x, y = points()
    model = build()
    model.compile(keras.optimizers.SGD(LEARNING_RATE), loss="mse")
    if run.weights:
        model.set_weights(list(run.weights.values()))
        for order in run.orders(len(x)):
            run.start()
            found = model.fit(x[order], y[order], batch_size=1, shuffle=False, verbose=0)
            run.stop()
            run.record(loss=found.history["loss"][0])
    else:
        run.start()
        found = model.fit(x, y, batch_size=1, epochs=run.epochs, verbose=0)
        run.stop(run.epochs)
        for loss in found.history["loss"]:
            run.record(loss=loss)
    print(f"mean squared error x 100: {100 * model.evaluate(x, y, verbose=0):.2f} %")


if __name__ == "__main__":
    main()
