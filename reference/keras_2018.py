"""Keras 2.2.4's batch normalisation and RMSprop, in today's Keras, which has others."""

from typing import Any

import keras
import tensorflow as tf

MOMENTUM = 0.99
EPSILON = 1e-3


class BatchNormalization(keras.layers.BatchNormalization):
    """The layer with Keras 2.2.4's moving statistics, on TensorFlow 1.12.

    They are debiased, so that their initial values have no weight after the first batch. The moving
    variance is corrected twice, by TensorFlow's fused operation and by Keras.

    Source: `keras.layers.BatchNormalization` of 2.2.4, and `assign_moving_average` of TensorFlow
    1.12 with `zero_debias`.
    """

    def build(self, input_shape: Any) -> None:
        """Create the weights, and the hidden sums, which Keras did not save either."""
        super().build(input_shape)
        self.hidden = [
            tf.Variable(tf.zeros(input_shape[-1], self.dtype), trainable=False) for _ in range(2)
        ]
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The normalised maps; with `training` those of the batch's own statistics."""
        del mask
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = tf.nn.moments(inputs, [0, 1, 2])
            self._follow(mean, variance, tf.cast(tf.size(inputs[..., 0]), inputs.dtype))
        return tf.nn.batch_normalization(
            inputs, mean, variance, self.beta, self.gamma, tf.constant(EPSILON, inputs.dtype)
        )

    def _follow(self, mean: Any, variance: Any, count: Any) -> None:
        """Update the moving statistics; `count` values of each channel were normalised."""
        corrected = variance * (count / (count - 1)) * (count / (count - (1 + EPSILON)))
        momentum = tf.constant(MOMENTUM, mean.dtype)
        self.steps.assign_add(1)
        share = 1 - momentum ** tf.cast(self.steps, mean.dtype)
        moving = (self.moving_mean, self.moving_variance)
        for hidden, one, value in zip(self.hidden, moving, (mean, corrected), strict=True):
            hidden.assign_sub((hidden - value) * (1 - momentum))
            one.assign(hidden / share)


class RMSprop(keras.optimizers.RMSprop):
    """RMSprop with its epsilon outside the root; today's has it below.

    Source: `keras.optimizers.RMSprop` of 2.2.4.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        del learning_rate
        dtype = gradient.dtype
        rho = tf.constant(0.9, dtype)
        average = self._velocities[self._get_variable_index(variable)]
        square = rho * average + (1 - rho) * tf.square(gradient)
        self.assign(average, square)
        step = tf.constant(1e-3, dtype) * gradient / (tf.sqrt(square) + tf.constant(1e-7, dtype))
        self.assign(variable, tf.convert_to_tensor(variable) - step)
