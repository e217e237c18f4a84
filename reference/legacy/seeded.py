"""Inputs and weights that are generated from their names instead of being stored.

This file runs on Python 3.6 with NumPy 1.15 and on today's versions, because `RandomState` gives
the same numbers in both. All test cases come from here, for the old software and for the new.
"""

import zlib
from collections import OrderedDict

import numpy as np

# Golden files store at most this many entries of an array. The array's name seeds their places.
SAMPLE = 2048

STEPS = 20
KEPT_STEPS = (1, 5, 20)
# Number of batches whose gradients are recorded at 600 pixels without dropout, and number of runs
# of training steps in float32.
DRAWS = 4
BATCH = {64: 6, 600: 2}


def random(name):
    """A random generator that is seeded by the name."""
    return np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)


def places(name, size):
    """Flat indices of the stored entries of an array, ascending; all if `size` <= SAMPLE.

    They are the same for float32 and float64.
    """
    if size <= SAMPLE:
        return np.arange(size)
    name = name.replace("float32/", "").replace("float64/", "")
    return np.unique(random("places of " + name).randint(0, size, SAMPLE))


def sample(name, array):
    """The stored entries of an array."""
    array = np.asarray(array)
    return array.reshape(-1)[places(name, array.size)]


def features_size(image_size):
    """Height of the CNN's last feature map."""
    for _ in range(3):
        image_size = (image_size - 2) // 2
    return image_size


def cnn_shapes(image_size):
    """Shapes of the CNN's weights, in Keras' order and layout."""
    features = features_size(image_size) ** 2 * 64
    return OrderedDict(
        [
            ("conv2d_1/kernel", (3, 3, 3, 32)),
            ("conv2d_1/bias", (32,)),
            ("conv2d_2/kernel", (3, 3, 32, 32)),
            ("conv2d_2/bias", (32,)),
            ("conv2d_3/kernel", (3, 3, 32, 64)),
            ("conv2d_3/bias", (64,)),
            ("dense_1/kernel", (features, 64)),
            ("dense_1/bias", (64,)),
            ("dense_2/kernel", (64, 3)),
            ("dense_2/bias", (3,)),
        ]
    )


def mlp_shapes():
    """Shapes of the MLP's weights, in PyTorch's order and layout."""
    return OrderedDict(
        [
            ("fc1.weight", (64, 1024)),
            ("fc1.bias", (64,)),
            ("fc2.weight", (32, 64)),
            ("fc2.bias", (32,)),
            ("fc3.weight", (3, 32)),
            ("fc3.bias", (3,)),
        ]
    )


def cnn_weights(image_size, dtype):
    """Weights of the CNN within Glorot's bounds, with biases that are not zero.

    They are float32 values for both dtypes, so that float32 and float64 runs start equal.
    """
    weights = OrderedDict()
    for name, shape in cnn_shapes(image_size).items():
        if name.endswith("bias"):
            bound = 0.05
        else:
            receptive = int(np.prod(shape[:-2]))
            bound = np.sqrt(6.0 / (receptive * (shape[-2] + shape[-1])))
        values = random("cnn %d %s" % (image_size, name)).uniform(-bound, bound, shape)
        weights[name] = values.astype(np.float32).astype(dtype)
    return weights


def mlp_weights(dtype):
    """Weights of the MLP, twice as large as PyTorch's own; float32 values for both dtypes."""
    weights = OrderedDict()
    fan_in = 0
    for name, shape in mlp_shapes().items():
        fan_in = shape[1] if len(shape) == 2 else fan_in
        values = random("mlp " + name).uniform(-2, 2, shape) / np.sqrt(fan_in)
        weights[name] = values.astype(np.float32).astype(dtype)
    return weights


def photos(name, count, height, width):
    """Smooth RGB pictures with edges and noise: uint8 [count, height, width, 3]."""
    rng = random(name)
    y, x = np.mgrid[:height, :width] / float(max(height, width))
    pictures = np.empty((count, height, width, 3), np.uint8)
    for picture in pictures:
        for channel in range(3):
            a, b, c, d, e = rng.uniform(-9, 9, 5)
            values = 120 + 70 * np.sin(a * x + b * y + c) + 60 * (x * d + y * e > 0.5)
            noise = rng.randint(-12, 13, (height, width))
            # Rounded down to integers first, so that no library can round differently.
            picture[..., channel] = np.clip(np.floor(values).astype(int) + noise, 0, 255)
    return pictures


def cnn_batch(image_size, step):
    """One batch of uint8 pictures and labels; at 64 pixels every twentieth batch is smaller."""
    batch = BATCH[image_size]
    if image_size == 64 and step % 20 == 7:
        batch -= 2
    name = "cnn batch %d %d" % (image_size, step)
    return photos(name, batch, image_size, image_size), labels(name, batch)


def mlp_batch(step, batch=8):
    """One batch of gray uint8 pictures, [batch, 32, 32], and their labels."""
    name = "mlp batch %d" % step
    return photos(name, batch, 32, 32)[..., 0].copy(), labels(name, batch)


def labels(name, batch):
    """Labels in which every class occurs."""
    return (np.arange(batch) + random("labels of " + name).randint(0, 3)) % 3


def loss_logits(dtype):
    """Logits and labels, from moderate to saturated, with ties."""
    rows = [
        ((0, 0, 0), 0),
        ((1, 2, 3), 0),
        ((1, 2, 3), 2),
        ((-1.5, 0.25, 4), 1),
        ((15, 0, 0), 1),
        ((16, 0, 0), 1),
        ((16.11, 0, 0), 1),
        ((16.12, 0, 0), 1),
        ((17, 0, 0), 1),
        ((40, 0, 0), 1),
        ((40, 0, 0), 0),
        ((90, 0, -90), 2),
        ((200, 0, 0), 2),
        ((-200, -200, 0), 2),
    ]
    logits = np.array([row[0] for row in rows], np.float32).astype(dtype)
    return logits, np.array([row[1] for row in rows])


def loss_probabilities(dtype):
    """Probabilities and labels at, inside and outside the clipping bounds; some sum to less."""
    e = np.float32(1e-7)
    rows = [
        ((0.2, 0.3, 0.5), 0),
        ((0.1, 0.1, 0.3), 2),
        ((1, 0, 0), 0),
        ((1, 0, 0), 1),
        ((1 - e, e, 0), 1),
        ((1 - e, e, 0), 0),
        ((1 - 2 * e, e, e), 2),
        ((0.5, 0.5, 5e-8), 2),
        ((0.5, 0.5, 2e-7), 2),
    ]
    probabilities = np.array([row[0] for row in rows], np.float32).astype(dtype)
    return probabilities, np.array([row[1] for row in rows])


def tied_values(dtype):
    """Inputs of ReLU and pooling with ties, zeros and an odd height and width: [2, 7, 9, 3]."""
    values = random("ties").randint(-2, 3, (2, 7, 9, 3)).astype(dtype)
    values[0, :4, :4] = 0
    values[1, :2, :2] = 1
    values[1, 2:4, :2] = -1
    return values


def tied_gradient(dtype):
    """A gradient of the pooled values with all entries different: [2, 3, 4, 3]."""
    return (1 + np.arange(2 * 3 * 4 * 3, dtype=dtype)).reshape(2, 3, 4, 3)


def gradients(name, shape, step, dtype):
    """Prescribed gradients of both signs, with magnitudes from 1e-10 to 10; some are zero."""
    rng = random("gradient %s %d" % (name, step))
    values = 10.0 ** rng.uniform(-10, 1, shape) * rng.choice([-1, 1], shape)
    values[rng.uniform(size=shape) < 0.02] = 0
    return values.astype(np.float32).astype(dtype)


def training_set(count, image_size):
    """Pictures and labels that can be learnt, because the tint depends on the class."""
    name = "training set %d %d" % (count, image_size)
    pictures, classes = photos(name, count, image_size, image_size), labels(name, count)
    tint = np.zeros((count, 1, 1, 3), int)
    tint[np.arange(count), 0, 0, classes] = 30
    return np.clip(pictures.astype(int) + tint, 0, 255).astype(np.uint8), classes


# (Height, width) of decoded pictures and the size after resizing: tall and wide, up and down.
RESIZES = [((97, 64), 31), ((60, 113), 31), ((37, 41), 64), ((64, 64), 64), ((203, 150), 32)]


def decoded(number):
    """The decoded picture of a case of `RESIZES`: uint8 [height, width, 3]."""
    height, width = RESIZES[number][0]
    return photos("decoded %d" % number, 1, height, width)[0]


ANGLES = [-45.0, -30.5, -11.25, 0.0, 0.37, 7.0, 22.5, 33.3, 44.99]
