"""Keras 3 on the backend that KERAS_BACKEND names, with its own training step."""

import os
from collections.abc import Callable

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras

from benchmarks.baselines import inputs


def _model(image_size: int) -> keras.Sequential:
    layers = keras.layers
    model = keras.Sequential([layers.Input((image_size, image_size, 3))])
    for channels in (32, 32, 64):
        model.add(layers.Conv2D(channels, 3))
        model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(inputs.CLASSES, activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def train(batch_size: int, image_size: int) -> Callable[[], None]:
    """One step: `train_on_batch`, of arrays that the backend holds already."""
    model = _model(image_size)
    images, targets = map(
        keras.ops.convert_to_tensor,
        (inputs.scaled(batch_size, image_size), inputs.targets(batch_size)),
    )
    return lambda: model.train_on_batch(images, targets)


def predict(batch_size: int, image_size: int) -> Callable[[], None]:
    """Probabilities of a batch of scaled images in the host's memory, with `predict`."""
    model = _model(image_size)
    images = inputs.scaled(batch_size, image_size)
    return lambda: model.predict(images, batch_size=batch_size, verbose=0)


def predict_on_batch(batch_size: int, image_size: int) -> Callable[[], None]:
    """The same with `predict_on_batch`, which leaves out what `predict` does around it."""
    model = _model(image_size)
    images = inputs.scaled(batch_size, image_size)
    return lambda: model.predict_on_batch(images)
