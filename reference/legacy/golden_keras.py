"""Records the study's Keras CNN on Keras 2.2.4 and TensorFlow 1.12 in golden files.

    PYTHONHASHSEED=0 python golden_keras.py OUT

Runs only on Python 3.6, in the environment that `environments.sh` builds.
"""

import contextlib
import io
import json
import os
import sys

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import PIL.Image
import seeded
import tensorflow as tf
from golden_file import GoldenFile, versions
from keras import backend as K
from keras.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from keras.preprocessing.image import ImageDataGenerator

# The study had 294 photos in batches of 25, and 11 steps per epoch because it counted 297 photos.
IMAGES, BATCH_SIZE, STEPS_PER_EPOCH, EPOCHS = 294, 25, 11, 10
INITIAL_DRAWS = 40


def study_cnn(image_size):
    model = keras.models.Sequential()
    for i, filters in enumerate((32, 32, 64)):
        shape = {"input_shape": (image_size, image_size, 3)} if i == 0 else {}
        model.add(Conv2D(filters, (3, 3), name="conv2d_%d" % (i + 1), **shape))
        model.add(Activation("relu", name="activation_%d" % (i + 1)))
        model.add(MaxPooling2D(pool_size=(2, 2), name="max_pooling2d_%d" % (i + 1)))
    model.add(Flatten(name="flatten_1"))
    model.add(Dense(64, name="dense_1"))
    model.add(Activation("relu", name="activation_4"))
    model.add(Dropout(0.5, name="dropout_1"))
    model.add(Dense(3, name="dense_2"))
    model.add(Activation("softmax", name="activation_5"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def fresh(dtype):
    K.clear_session()
    tf.reset_default_graph()
    K.set_floatx(dtype)


def with_weights(image_size, dtype):
    model = study_cnn(image_size)
    model.set_weights(list(seeded.cnn_weights(image_size, dtype).values()))
    return model


def scaled(pixels, dtype):
    """Multiplies in the array's dtype, as `ImageDataGenerator(rescale=1 / 255)` does."""
    return (pixels.astype(np.float32) * np.float32(1 / 255)).astype(dtype)


def one_hot(labels, dtype):
    return np.eye(3, dtype=dtype)[labels]


class SequencedAdam(keras.optimizers.Adam):
    """Keras' Adam, which changes no weight before all gradients are computed.

    TensorFlow 1.12 updates a variable in place while the gradients of lower layers may still have
    to read it. This was measured with plain `train_on_batch`, this network, 150 pixels and a batch
    of 25. The gradients of 3 in 8 first steps were wrong (by up to 19 %), and in float64 those of 6
    in 8. Such steps cannot serve as a reference for what a training step must compute.
    """

    def get_gradients(self, loss, params):
        gradients = super().get_gradients(loss, params)
        with tf.control_dependencies(gradients):
            return [tf.identity(gradient) for gradient in gradients]


class Probe:
    """A compiled function that returns the parts of a step, and takes the step if `step` is set."""

    def __init__(self, model, step):
        self.names = list(seeded.cnn_shapes(64))
        dropout = model.get_layer("dropout_1")
        weights = model.trainable_weights
        # No gradients together with a step, see `SequencedAdam`.
        targets = [] if step else [*weights, model.inputs[0]]
        self.gradients = K.gradients(model.total_loss, targets) if targets else []
        self.adam = SequencedAdam()
        updates = self.adam.get_updates(loss=model.total_loss, params=weights) if step else []
        inputs = [*model.inputs, *model.targets, *model.sample_weights, K.learning_phase()]
        outputs = [model.total_loss, dropout.input, dropout.output, *self.gradients]
        self.function = K.function(inputs, outputs, updates=updates)

    def __call__(self, images, targets, training):
        weights = np.ones(len(images), images.dtype)
        loss, before, after, *gradients = self.function([images, targets, weights, int(training)])
        # If the ReLU gave zero, dropping and keeping the value are the same.
        mask = (after != 0) | (before == 0)
        return loss, mask, dict(zip([*self.names, "input"], gradients))

    def optimizer_state(self):
        state = self.adam.get_weights()
        count = len(self.names)
        return dict(zip(self.names, state[1 : 1 + count])), dict(
            zip(self.names, state[1 + count : 1 + 2 * count])
        )


def structure(out):
    fresh("float32")
    model = study_cnn(600)
    lines = []
    model.summary(print_fn=lines.append)
    out.text["summary"] = lines
    out.text["count_params"] = model.count_params()
    out.text["layers"] = [
        {
            "name": layer.name,
            "kind": type(layer).__name__,
            "output_shape": layer.output_shape,
            "params": layer.count_params(),
        }
        for layer in model.layers
    ]
    out.text["optimizer"] = model.optimizer.get_config()
    out.text["epsilon"] = K.epsilon()


def initialisation(out):
    moments = {name: [] for name in seeded.cnn_shapes(64)}
    for _ in range(INITIAL_DRAWS):
        fresh("float32")
        for name, values in zip(moments, study_cnn(64).get_weights()):
            values = values.astype(np.float64)
            moments[name].append(
                [values.min(), values.max(), values.mean(), (values**2).mean(), (values**4).mean()]
            )
    for name, rows in moments.items():
        out.add("initial/" + name, np.array(rows))


def forward_and_gradients(out, image_size, dtype):
    fresh(dtype)
    model = with_weights(image_size, dtype)
    pixels, labels = seeded.cnn_batch(image_size, 0)
    images, targets = scaled(pixels, dtype), one_hot(labels, dtype)
    layers = K.function([*model.inputs, K.learning_phase()], [x.output for x in model.layers])
    prefix = "%s/%d/" % (dtype, image_size)
    for layer, values in zip(model.layers, layers([images, 0])):
        out.add_sample(prefix + "forward/" + layer.name, values)
    probe = Probe(model, step=False)
    for draw in range(1, seeded.DRAWS if image_size == 600 else 0):
        pixels, labels = seeded.cnn_batch(image_size, draw)
        _, _, gradients = probe(scaled(pixels, dtype), one_hot(labels, dtype), False)
        for name, values in gradients.items():
            out.add_sample("%sdraw %d/gradient/%s" % (prefix, draw, name), values)
    for training in (False, True):
        loss, mask, gradients = probe(images, targets, training)
        part = prefix + ("dropout/" if training else "plain/")
        out.add(part + "loss", np.asarray(loss))
        if training:
            out.add(part + "mask", mask)
        for name, values in gradients.items():
            out.add_sample(part + "gradient/" + name, values)


def adam_alone(out, dtype):
    """Passes prescribed gradients through `Adam.get_updates`, with the CNN's 64-pixel weights."""
    fresh(dtype)
    start = seeded.cnn_weights(64, dtype)
    variables = [K.variable(value, dtype=dtype) for value in start.values()]
    holes = [K.placeholder(shape=value.shape, dtype=dtype) for value in start.values()]

    class Prescribed(keras.optimizers.Adam):
        def get_gradients(self, loss, params):
            return holes

    adam = Prescribed()
    step = K.function(holes, [variables[0]], updates=adam.get_updates(None, variables))
    for number in range(100):
        step([seeded.gradients(n, v.shape, number, dtype) for n, v in start.items()])
        if number + 1 in (1, 5, 100):
            state = K.batch_get_value(adam.weights)
            names = list(start)
            for kind, values in (
                ("params", K.batch_get_value(variables)),
                ("mu", state[1 : 1 + len(names)]),
                ("nu", state[1 + len(names) : 1 + 2 * len(names)]),
            ):
                for name, value in zip(names, values):
                    out.add_sample("%s/adam/%d/%s/%s" % (dtype, number + 1, kind, name), value)


def steps(out, dtype, draw):
    """Training steps with dropout: weights, and Adam's moments for the first draw."""
    fresh(dtype)
    model = with_weights(64, dtype)
    probe = Probe(model, step=True)
    prefix = "%s/steps/" % dtype if draw == 0 else "%s/steps of draw %d/" % (dtype, draw)
    losses, masks = [], []
    for number in range(seeded.STEPS):
        pixels, labels = seeded.cnn_batch(64, 100 * draw + number)
        loss, mask, _ = probe(scaled(pixels, dtype), one_hot(labels, dtype), True)
        losses.append(loss)
        masks.append(np.pad(mask, ((0, seeded.BATCH[64] - len(mask)), (0, 0)), "constant"))
        if number + 1 in seeded.KEPT_STEPS:
            found = {"params": dict(zip(probe.names, model.get_weights()))}
            if draw == 0:
                found["mu"], found["nu"] = probe.optimizer_state()
            for kind, values in found.items():
                for name, value in values.items():
                    out.add_sample("%s%d/%s/%s" % (prefix, number + 1, kind, name), value)
    out.add(prefix + "loss", np.array(losses))
    out.add(prefix + "masks", np.array(masks))


def whole_recipe(out, dtype):
    """All ten epochs in the study's batch order, from `fit_generator`'s own iterator."""
    fresh(dtype)
    model = with_weights(64, dtype)
    probe = Probe(model, step=True)
    pixels, labels = seeded.training_set(IMAGES, 64)
    losses, masks = [], []
    for rows in order(IMAGES, BATCH_SIZE, STEPS_PER_EPOCH, EPOCHS):
        images, targets = scaled(pixels[rows], dtype), one_hot(labels[rows], dtype)
        loss, mask, _ = probe(images, targets, True)
        losses.append(loss)
        padded = np.ones((BATCH_SIZE, mask.shape[1]), bool)
        padded[: len(mask)] = mask
        masks.append(padded)
    prefix = dtype + "/recipe/"
    out.add(prefix + "loss", np.array(losses))
    out.add(prefix + "masks", np.packbits(np.array(masks)))
    for name, value in zip(probe.names, model.get_weights()):
        out.add_sample(prefix + "params/" + name, value)


def order(images, batch_size, steps_per_epoch, epochs):
    """The rows of each batch that `fit_generator` trains on, with a generator like the study's."""
    seen = []
    session, dtype = K.get_session(), K.floatx()
    np.random.seed(seeded.random("order").randint(1 << 30))
    data = np.arange(images, dtype=dtype).reshape(-1, 1, 1, 1)
    generator = ImageDataGenerator().flow(data, np.zeros(images), batch_size=batch_size)
    with tf.Graph().as_default(), tf.Session().as_default() as own:
        K.set_session(own)
        model = keras.models.Sequential([Flatten(input_shape=(1, 1, 1)), Dense(1)])
        model.compile(loss="mse", optimizer="sgd")
        train = model.train_on_batch

        def record(x, y, **arguments):
            seen.append(x.reshape(-1).astype(int))
            return train(x, y, **arguments)

        model.train_on_batch = record
        model.fit_generator(generator, steps_per_epoch=steps_per_epoch, epochs=epochs, verbose=0)
    K.set_session(session)
    return seen


def orders(out):
    fresh("float32")
    for images, batch, per_epoch, epochs in ((294, 25, 11, 10), (50, 25, 2, 3), (7, 3, 2, 4)):
        found = order(images, batch, per_epoch, epochs)
        rows = np.full((len(found), batch), -1, np.int32)
        for place, batch_rows in enumerate(found):
            rows[place, : len(batch_rows)] = batch_rows
        out.add("order/%d-%d-%d" % (images, batch, per_epoch), rows)


def printed_metrics(out):
    """The metric in the progress line at the end of an epoch, and the metric in `History`."""
    fresh("float32")
    sizes, values = [25] * 10 + [19], seeded.random("metric").uniform(size=11)
    model = keras.models.Sequential([Dense(1, input_shape=(1,))])
    model.compile(loss="mse", optimizer="sgd")
    batches = iter(list(zip(sizes, values)))

    def prescribed(x, y, **arguments):
        return np.float32(next(batches)[1])

    def generate():
        while True:
            for size in sizes:
                yield np.zeros((size, 1)), np.zeros((size, 1))

    model.train_on_batch = prescribed
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen):
        history = model.fit_generator(generate(), steps_per_epoch=11, epochs=1, max_queue_size=1)
    out.text["metric"] = {
        "sizes": sizes,
        "values": [float(np.float32(v)) for v in values],
        "history": float(history.history["loss"][0]),
        "printed": float(screen.getvalue().replace("\b", "").split("loss:")[-1].split()[0]),
    }


def losses(out, dtype):
    fresh(dtype)
    logits, labels = seeded.loss_logits(dtype)
    x = K.placeholder(shape=logits.shape, dtype=dtype)
    loss = K.categorical_crossentropy(K.constant(one_hot(labels, dtype)), K.softmax(x))
    values, gradient = K.function([x], [loss, K.gradients(loss, [x])[0]])([logits])
    out.add(dtype + "/loss/logits/value", values)
    out.add(dtype + "/loss/logits/gradient", gradient)
    probabilities, labels = seeded.loss_probabilities(dtype)
    x = K.placeholder(shape=probabilities.shape, dtype=dtype)
    loss = K.categorical_crossentropy(K.constant(one_hot(labels, dtype)), x)
    values, gradient = K.function([x], [loss, K.gradients(loss, [x])[0]])([probabilities])
    out.add(dtype + "/loss/probabilities/value", values)
    out.add(dtype + "/loss/probabilities/gradient", gradient)


def ties(out, dtype):
    fresh(dtype)
    values = seeded.tied_values(dtype)
    x = K.placeholder(shape=values.shape, dtype=dtype)
    pooled = K.pool2d(K.relu(x), (2, 2), strides=(2, 2))
    gradient = tf.gradients(pooled, x, K.constant(seeded.tied_gradient(dtype)))[0]
    found = K.function([x], [pooled, gradient])([values])
    out.add(dtype + "/ties/pooled", found[0])
    out.add(dtype + "/ties/gradient", found[1])


def pixels(out):
    """The study's loader, from decoded pictures and from a JPEG file."""
    from keras.preprocessing import image

    for number, (_, size) in enumerate(seeded.RESIZES):
        picture = PIL.Image.fromarray(seeded.decoded(number))
        stored = io.BytesIO()
        picture.save(stored, format="png")
        stored.seek(0)
        loaded = image.load_img(stored, target_size=(size, size))
        array = image.img_to_array(loaded)
        out.add("pixels/%d" % number, array.astype(np.uint8))
        if size <= 31:
            rescaled = ImageDataGenerator(rescale=1 / 255).standardize(array)
            out.add("scaled/%d" % number, rescaled)
    every = np.arange(256, dtype=np.float32).reshape(1, 256, 1)
    out.add("scaled/every", ImageDataGenerator(rescale=1 / 255).standardize(every).reshape(-1))
    # JPEG decoders differ between versions, so both the file and its decoded pixels are stored.
    stored = io.BytesIO()
    PIL.Image.fromarray(seeded.decoded(1)).save(stored, format="jpeg", quality=85)
    out.add("jpeg/file", np.frombuffer(stored.getvalue(), np.uint8))
    stored.seek(0)
    out.add("jpeg/decoded", np.asarray(PIL.Image.open(stored).convert("RGB")))
    stored.seek(0)
    out.add("jpeg/pixels", image.img_to_array(image.load_img(stored, target_size=(31, 31))))


def main(path):
    out = GoldenFile()
    out.text["versions"] = versions("tensorflow", "keras", "keras_preprocessing", "numpy", "PIL")
    structure(out)
    initialisation(out)
    pixels(out)
    orders(out)
    printed_metrics(out)
    for dtype in ("float32", "float64"):
        losses(out, dtype)
        ties(out, dtype)
        adam_alone(out, dtype)
        for draw in range(seeded.DRAWS if dtype == "float32" else 1):
            steps(out, dtype, draw)
        forward_and_gradients(out, 64, dtype)
        forward_and_gradients(out, 600, dtype)
    whole_recipe(out, "float64")
    out.write(path)
    print(json.dumps(out.text["versions"]))


if __name__ == "__main__":
    main(sys.argv[1])
