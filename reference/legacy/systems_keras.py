"""Records the small Keras systems on Keras 2.2.4 and TensorFlow 1.12.0 in golden files.

    PYTHONHASHSEED=0 python systems_keras.py OUT

Runs only on Python 3.6, in the environment that `environments.sh` builds. All optimisers wait for
all gradients before they change a weight, see `InOrder`.

Keys begin with the system and the dtype D. An array after which "(digest)" stands below is stored
as `systems_inputs.digest` describes, others completely. W is "layer/weight"; M is "generator" or
"discriminator".

sine-dense        drawn/W (minimum, maximum, mean and deviation over 200 draws),
                  order (the rows of two epochs of `fit`), D/output, D/loss, D/gradient/W,
                  D/fit/loss (as `History` has it, per epoch), D/fit/weights/W (per epoch),
                  D/evaluate (the loss of the 63 points after these epochs)
conv-autoencoder  split (the first and last 100 validation rows of scikit-learn, and of training),
                  float32/output, float32/layer/LAYER (digest; test mode),
                  float32/loss, float32/gradient/W (digest; training mode, noisy input),
                  float32/clean/loss, float32/clean/gradient/W (digest; the input is the target),
                  float32/variance/LAYER (biased variance of each batch norm's input, noisy input),
                  float32/steps/loss, float32/steps/weights/W (digests; after each of 3 steps),
                  float64/...: output, loss and gradient with TensorFlow's unfused batch norm,
                  because the fused one has no float64
gan               drawn/M/W, D/M/output (digest), D/saturated/value and /gradient,
                  D/leaky/gradient, D/steps/loss, D/steps/counter, D/steps/weights/M/W (digests;
                  after each of the steps D, G, D, G without dropout),
                  D/dropout/P/masks/I (packed bits), D/dropout/P/loss, D/dropout/P/gradient/W
                  (digest) with P = discriminator or gan: one pass of each training function
rmsprop, keras-adam  D: 64 weights after each of 5 updates with prescribed gradients

Keras 2.2.4 debiases the moving statistics of batch norm (`zero_debias=True`): after t steps they
are the sum of 0.01 * 0.99**(t - s) * (statistic of step s), divided by 1 - 0.99**t. Their initial
values do not matter. The variance of step s is corrected twice: N/(N-1) and N/(N-1.001).
"""

import contextlib
import json
import os
import sys
from collections import OrderedDict
from unittest import mock

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import systems_inputs as inputs
import tensorflow as tf
from golden_file import GoldenFile, versions
from keras import backend as K
from keras.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Input,
    LeakyReLU,
    MaxPooling2D,
    UpSampling2D,
)
from keras.models import Model, Sequential
from sklearn.model_selection import train_test_split

DTYPES = ("float32", "float64")
FIT_SEED, FIT_EPOCHS = 7, 2
REAL = 16


class InOrder:
    """Lets an optimiser of Keras change no weight before all gradients are computed.

    TensorFlow 1.12 may update a weight in place while the gradients of lower layers still have to
    read it (see `golden_keras.SequencedAdam`).
    """

    def get_gradients(self, loss, params):
        gradients = super().get_gradients(loss, params)
        with tf.control_dependencies(gradients):
            return [tf.identity(gradient) for gradient in gradients]


class SGD(InOrder, keras.optimizers.SGD):
    pass


class RMSprop(InOrder, keras.optimizers.RMSprop):
    pass


class Adam(InOrder, keras.optimizers.Adam):
    pass


def fresh(dtype):
    K.clear_session()
    tf.reset_default_graph()
    K.set_floatx(dtype)


def variables(model):
    """The weights' variables by "layer/weight", in the order of `get_weights`."""
    found = OrderedDict()
    for layer in model.layers:
        for variable in layer.weights:
            # TensorFlow renames the scope of a second layer with the same name.
            found[layer.name + "/" + variable.name.split("/")[-1].split(":")[0]] = variable
    return found


def by_name(model):
    return OrderedDict(zip(variables(model), model.get_weights()))


def load(model, name):
    """The model with the generated weights of this name; its layers are named as there."""
    given = inputs.weights(name)
    assert list(given) == list(variables(model))
    model.set_weights([value.astype(K.floatx()) for value in given.values()])
    return model


def add(out, key, value, name=None):
    """Store a digest; its places depend on `name`, by default the last part of the key."""
    out.add(key, inputs.digest(name or key.split("/")[-1], value))


def add_draws(out, prefix, make, count):
    """Moments of freshly drawn weights over many draws."""
    found = OrderedDict()
    for _ in range(count):
        fresh("float32")
        for name, value in by_name(make()).items():
            x = value.astype(np.float64)
            found.setdefault(name, []).append([x.min(), x.max(), x.mean(), (x**2).mean()])
    for name, rows in found.items():
        low, high, mean, square = np.array(rows).T
        deviation = np.sqrt(square.mean() - mean.mean() ** 2)
        out.add(prefix + name, np.array([low.min(), high.max(), mean.mean(), deviation]))


class Probe:
    """Loss and gradients of a compiled model by some of its variables; no weight changes."""

    def __init__(self, model, weights, more=()):
        self.names = list(weights)
        gradients = K.gradients(model.total_loss, list(weights.values()))
        given = [*model.inputs, *model.targets, *model.sample_weights, K.learning_phase()]
        self.function = K.function(given, [model.total_loss, *gradients, *more])

    def __call__(self, x, y):
        """In training mode: the loss, the gradients by name, and what `more` asked for."""
        loss, *found = self.function([x, y, np.ones(len(x), x.dtype), 1])
        count = len(self.names)
        return loss, OrderedDict(zip(self.names, found[:count])), found[count:]


def trainable(model):
    chosen = model.trainable_weights
    return OrderedDict((name, v) for name, v in variables(model).items() if v in chosen)


def add_loss_and_gradients(out, prefix, loss, gradients):
    out.add(prefix + "loss", np.asarray(loss))
    for name, value in gradients.items():
        add(out, prefix + "gradient/" + name, value, name)


def perceptron():
    model = Sequential(
        [
            Dense(5, activation="tanh", input_shape=(1,), name="dense_1"),
            Dense(5, activation="tanh", name="dense_2"),
            Dense(1, name="dense_3"),
        ]
    )
    model.compile(loss="mse", optimizer=SGD())
    return model


def sine_dense(out):
    add_draws(out, "sine-dense/drawn/", perceptron, 200)
    for dtype in DTYPES:
        fresh(dtype)
        prefix = "sine-dense/%s/" % dtype
        model = load(perceptron(), "sine-dense")
        x, y = [array.astype(dtype) for array in inputs.sine_points()]
        out.add(prefix + "output", model.predict(x))
        loss, gradients, _ = Probe(model, trainable(model))(x, y)
        add_loss_and_gradients(out, prefix, loss, gradients)

        kept = OrderedDict((name, []) for name in variables(model))

        def keep(epoch, logs, model=model, kept=kept):
            for name, value in by_name(model).items():
                kept[name].append(value)

        model._make_train_function()
        step, seen = model.train_function, []

        def step_and_note(given, step=step, seen=seen):
            seen.append(round(10 * float(given[0][0, 0])))
            return step(given)

        model.train_function = step_and_note
        np.random.seed(FIT_SEED)
        history = model.fit(
            x,
            y,
            batch_size=1,
            epochs=FIT_EPOCHS,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=keep)],
        )
        out.add(prefix + "fit/loss", np.array(history.history["loss"]))
        for name, values in kept.items():
            out.add(prefix + "fit/weights/" + name, np.array(values))
        out.add(prefix + "evaluate", np.asarray(model.evaluate(x, y, verbose=0)))
        order = np.array(seen, np.int32).reshape(FIT_EPOCHS, 63)
        if dtype == "float32":
            out.add("sine-dense/order", order)
            # The claim about `fit`: one array of indices, shuffled in place and cumulatively.
            np.random.seed(FIT_SEED)
            rows = np.arange(63)
            for found in order:
                np.random.shuffle(rows)
                assert np.array_equal(rows, found)
        else:
            assert np.array_equal(order, out.arrays["sine-dense/order"])


def convolutional(optimizer):
    """The 15 convolutions; a batch norm follows the ReLU of all but the last."""
    x = given = Input((28, 28, 1))
    for i, filters in enumerate(inputs.CONV_FILTERS):
        name = "conv2d_%d" % (i + 1)
        x = Conv2D(filters, (3, 3), activation="relu", padding="same", name=name)(x)
        x = BatchNormalization(name="batch_normalization_%d" % (i + 1))(x)
        if i in (1, 3):
            x = MaxPooling2D((2, 2), name="max_pooling2d_%d" % (i // 2 + 1))(x)
        if i in (11, 13):
            x = UpSampling2D((2, 2), name="up_sampling2d_%d" % (i // 2 - 4))(x)
    x = Conv2D(1, (3, 3), activation="sigmoid", padding="same", name="conv2d_15")(x)
    model = Model(given, x)
    model.compile(loss="mean_squared_error", optimizer=optimizer)
    return model


def conv_batch(step, dtype):
    """Noisy and clean pictures."""
    count = inputs.BATCHES["conv-autoencoder"][step]
    name = "conv-autoencoder %d" % step
    clean = inputs.unit(inputs.pictures(name, count))[..., None]
    return inputs.noisy(name, clean).astype(dtype), clean.astype(dtype)


def unfused_inference(x, mean, var, beta, gamma, axis=-1, epsilon=1e-3):
    return tf.nn.batch_normalization(x, mean, var, beta, gamma, epsilon)


@contextlib.contextmanager
def unfused():
    """Batch norm from `tf.nn.moments`, whose variance is biased too; it takes float64."""
    backend = keras.backend.tensorflow_backend
    regular = backend._regular_normalize_batch_in_training
    training = mock.patch.object(backend, "_fused_normalize_batch_in_training", regular)
    inference = mock.patch.object(K, "batch_normalization", unfused_inference)
    with training, inference:
        yield


def conv_autoencoder(out):
    add_draws(out, "conv-autoencoder/drawn/", lambda: convolutional(RMSprop()), 5)
    train, validation = train_test_split(np.arange(60000), test_size=0.2, random_state=13)
    ends = [rows[part] for rows in (validation, train) for part in (slice(100), slice(-100, None))]
    out.add("conv-autoencoder/split", np.array(ends, np.int32))

    fresh("float32")
    model = load(convolutional(RMSprop()), "conv-autoencoder")
    prefix = "conv-autoencoder/float32/"
    noisy, clean = conv_batch(0, "float32")
    out.add(prefix + "output", model.predict(noisy))
    layers = model.layers[1:]
    outputs = K.function([model.input, K.learning_phase()], [one.output for one in layers])
    for layer, value in zip(layers, outputs([noisy, 0])):
        add(out, prefix + "layer/" + layer.name, value)
    norms = [layer for layer in model.layers if isinstance(layer, BatchNormalization)]
    moments = [tf.nn.moments(layer.input, [0, 1, 2])[1] for layer in norms]
    probe = Probe(model, trainable(model), moments)
    loss, gradients, variances = probe(noisy, clean)
    add_loss_and_gradients(out, prefix, loss, gradients)
    for layer, value in zip(norms, variances):
        out.add(prefix + "variance/" + layer.name, value)
    loss, gradients, _ = probe(clean, clean)
    add_loss_and_gradients(out, prefix + "clean/", loss, gradients)

    losses, kept = [], OrderedDict((name, []) for name in variables(model))
    for step in range(len(inputs.BATCHES["conv-autoencoder"])):
        losses.append(model.train_on_batch(*conv_batch(step, "float32")))
        for name, value in by_name(model).items():
            kept[name].append(inputs.digest(name, value))
    out.add(prefix + "steps/loss", np.array(losses))
    for name, values in kept.items():
        out.add(prefix + "steps/weights/" + name, np.array(values))

    fresh("float64")
    with unfused():
        model = load(convolutional(RMSprop()), "conv-autoencoder")
        prefix = "conv-autoencoder/float64/"
        noisy, clean = conv_batch(0, "float64")
        out.add(prefix + "output", model.predict(noisy))
        loss, gradients, _ = Probe(model, trainable(model))(noisy, clean)
        add_loss_and_gradients(out, prefix, loss, gradients)


def generator():
    normal = keras.initializers.RandomNormal(stddev=0.02)
    model = Sequential(name="generator")
    model.add(Dense(256, input_dim=100, kernel_initializer=normal, name="dense_1"))
    model.add(LeakyReLU(0.2))
    for i, units in enumerate((512, 1024)):
        model.add(Dense(units, name="dense_%d" % (i + 2)))
        model.add(LeakyReLU(0.2))
    model.add(Dense(784, activation="tanh", name="dense_4"))
    return model


def discriminator(rate):
    normal = keras.initializers.RandomNormal(stddev=0.02)
    model = Sequential(name="discriminator")
    model.add(Dense(1024, input_dim=784, kernel_initializer=normal, name="dense_1"))
    for i, units in enumerate((512, 256)):
        model.add(LeakyReLU(0.2))
        model.add(Dropout(rate))
        model.add(Dense(units, name="dense_%d" % (i + 2)))
    model.add(LeakyReLU(0.2))
    model.add(Dropout(rate))
    model.add(Dense(1, activation="sigmoid", name="dense_4"))
    return model


def networks(rate):
    """Generator, discriminator, the two in a row, and the Adam that all share."""
    adam = Adam(lr=0.0002, beta_1=0.5)
    first = generator()
    first.compile(loss="binary_crossentropy", optimizer=adam)
    second = discriminator(rate)
    second.compile(loss="binary_crossentropy", optimizer=adam)
    second.trainable = False
    given = Input((100,))
    both = Model(given, second(first(given)))
    both.compile(loss="binary_crossentropy", optimizer=adam)
    return first, second, both, adam


def gan_batch(step, dtype):
    """16 real pictures and the noise of D's and of G's step."""
    pixels = inputs.pictures("gan %d" % step, REAL)
    real = inputs.signed(pixels).reshape(REAL, 784)
    noise = [inputs.normals("gan %s %d" % (name, step), (REAL, 100)) for name in ("D", "G")]
    return [array.astype(dtype) for array in [real] + noise]


def labels(dtype):
    """D's labels of real pictures, then of fakes; and the labels of G's step."""
    mixed = np.concatenate([np.full((REAL, 1), 0.9), np.zeros((REAL, 1))])
    return mixed.astype(dtype), np.ones((REAL, 1), dtype)


def gan(out):
    add_draws(out, "gan/drawn/generator/", generator, 5)
    add_draws(out, "gan/drawn/discriminator/", lambda: discriminator(0.3), 5)
    for dtype in DTYPES:
        prefix = "gan/%s/" % dtype
        fresh(dtype)
        saturated(out, prefix, dtype)
        gan_steps(out, prefix, dtype)
        fresh(dtype)
        gan_dropout(out, prefix, dtype)


def loaded_networks(rate):
    first, second, both, adam = networks(rate)
    load(first, "gan/generator")
    load(second, "gan/discriminator")
    return first, second, both, adam


def gan_steps(out, prefix, dtype):
    """D, G, D, G without dropout, and before that the outputs for the first batch."""
    first, second, both, adam = loaded_networks(0.0)
    mixed_labels, fake_labels = labels(dtype)
    losses, counters, kept = [], [], OrderedDict()
    for step in range(len(inputs.BATCHES["gan"])):
        real, noise, more_noise = gan_batch(step, dtype)
        fakes = first.predict(noise)
        mixed = np.concatenate([real, fakes])
        if step == 0:
            add(out, prefix + "generator/output", fakes)
            out.add(prefix + "discriminator/output", second.predict(mixed))
        for model, x, y in ((second, mixed, mixed_labels), (both, more_noise, fake_labels)):
            losses.append(model.train_on_batch(x, y))
            counters.append(int(K.get_value(adam.iterations)))
            for network in (first, second):
                for name, value in by_name(network).items():
                    key = "%s/%s" % (network.name, name)
                    kept.setdefault(key, []).append(inputs.digest(name, value))
    out.add(prefix + "steps/loss", np.array(losses))
    out.add(prefix + "steps/counter", np.array(counters))
    for key, rows in kept.items():
        out.add(prefix + "steps/weights/" + key, np.array(rows))


def gan_dropout(out, prefix, dtype):
    """One pass of each training function with dropout: its masks, loss and gradients."""
    first, second, both, _ = loaded_networks(0.3)
    real, noise, more_noise = gan_batch(0, dtype)
    mixed = np.concatenate([real, first.predict(noise)])
    mixed_labels, fake_labels = labels(dtype)
    # A value before a dropout is never 0, so its mask is where the value after it is not 0. The
    # discriminator's own pass was built first; its second pass, on fakes, follows.
    operations = K.get_session().graph.get_operations()
    after = [
        op.outputs[0]
        for op in operations
        if "dropout" in op.name and op.name.endswith("cond/Merge")
    ]
    assert len(after) == 6
    for part, model, network, values, x, y in (
        ("discriminator", second, second, after[:3], mixed, mixed_labels),
        ("gan", both, first, after[3:], more_noise, fake_labels),
    ):
        loss, gradients, values = Probe(model, variables(network), values)(x, y)
        add_loss_and_gradients(out, "%sdropout/%s/" % (prefix, part), loss, gradients)
        for i, value in enumerate(values):
            out.add("%sdropout/%s/masks/%d" % (prefix, part, i), np.packbits(value != 0, axis=1))


def saturated(out, prefix, dtype):
    p, target = inputs.saturated(inputs.KERAS_PROBABILITIES, inputs.KERAS_TARGETS)
    x = K.placeholder(shape=(p.size, 1), dtype=dtype)
    y = K.constant(target.reshape(-1, 1), dtype=dtype)
    value = keras.losses.binary_crossentropy(y, x)
    found = K.function([x], [value, *K.gradients(value, [x])])([p.reshape(-1, 1).astype(dtype)])
    out.add(prefix + "saturated/value", found[0].reshape(p.shape))
    out.add(prefix + "saturated/gradient", found[1].reshape(p.shape))
    x = K.placeholder(shape=(1, 4), dtype=dtype)
    gradient = K.gradients(LeakyReLU(0.2)(x), [x])
    out.add(prefix + "leaky/gradient", K.function([x], gradient)([[[-1.0, -0.0, 0.0, 1.0]]])[0])


def optimisers(out):
    """RMSprop and the GAN's Adam without a network, so that epsilon is seen."""
    for dtype in DTYPES:
        for name, kind, settings in (
            ("rmsprop", keras.optimizers.RMSprop, {}),
            ("keras-adam", keras.optimizers.Adam, dict(lr=0.0002, beta_1=0.5)),
        ):
            fresh(dtype)
            hole = K.placeholder(shape=(64,), dtype=dtype)

            class Prescribed(kind):
                def get_gradients(self, loss, params, hole=hole):
                    return [hole]

            weight = K.variable(np.zeros(64), dtype=dtype)
            updates = Prescribed(**settings).get_updates(None, [weight])
            step, rows = K.function([hole], [K.sum(hole)], updates=updates), []
            for number in range(5):
                step([inputs.prescribed_gradients(number).astype(dtype)])
                rows.append(K.get_value(weight))
            out.add("%s/%s" % (name, dtype), np.array(rows))


def main(path):
    out = GoldenFile()
    out.text["versions"] = versions("tensorflow", "keras", "sklearn", "numpy")
    for record in (sine_dense, conv_autoencoder, gan, optimisers):
        record(out)
    out.write(path)
    print(json.dumps(out.text["versions"]))


if __name__ == "__main__":
    main(sys.argv[1])
