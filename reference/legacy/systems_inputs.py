"""Inputs, weights and digests for the recordings of the small systems.

The recorders (Python 3.6, NumPy 1.15) and today's consumers import this file. Both get the same
numbers, because all draws come from `RandomState`, seeded by the CRC-32 of a name. So the
recordings contain results only. A consumer regenerates everything else:

    weights("vae")                  by PyTorch's state_dict names, or Keras' "layer/weight" names
    pictures("vae 0", 128)          uint8 pictures, scaled by `unit` (S4 to S8) or `signed` (S9)
    normals("vae epsilon 0", shape) noise
    denoiser_batch()                noisy and clean sines of S1
    sine_points()                   angles and sines of S3
    prescribed_gradients(step)      gradients for an optimiser without a network

All floating-point arrays are float32. A run in float64 casts them, so that both runs start equal.
`BATCHES` has the batch sizes of recorded training steps: step i of the system S takes
`pictures("S i", BATCHES[S][i])`.

`digest(name, array)` turns a result into what is stored, and a consumer compares the digest of its
own array, under the same name, with the stored one. The name of a weight or of its gradient is the
weight's name without its model; the name of another result is the last part of its key.
"""

import zlib
from collections import OrderedDict

import numpy as np

# Arrays with at most this many entries are stored completely.
WHOLE = 256
ENTRIES, PROJECTIONS = 64, 4

HIDDEN, CURVE = 30, 100
DENOISERS = ("rnn", "birnn", "bigru")

# Widths of the encoder; the decoder is its mirror. The study's architecture 4 is 2 with Adam's
# epsilon at 1e-6, so it has the weights of 2.
ENCODERS = {
    "1": (784, 400, 20),
    "2": (784, 400, 128, 64, 32),
    "3": (784, 400, 256, 128, 64, 32),
}

# The last batch of an epoch is smaller than the others.
BATCHES = {
    "vae": (128, 128, 128, 128, 96),
    "dense-autoencoder": (128, 128, 128, 128, 96),
    "conv-autoencoder": (4, 4, 4),
    "gan": (16, 16),
}
# Training steps after which the weights of PyTorch's systems are stored.
KEPT_STEPS = (1, 2, 5)
# Pictures for outputs and gradients of the autoencoders.
FEW = 8

CONV_FILTERS = (32, 32, 64, 64, 128, 128, 256, 256, 128, 128, 64, 64, 32, 32)


def random(name):
    """A generator that is seeded by the name."""
    return np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)


def digest(name, array):
    """What is stored of an array: a vector in the array's dtype.

    It has all entries in row-major order if there are at most 256. Otherwise it has 71 numbers:
    64 entries at places that the name seeds; 4 projections on seeded vectors of signs, divided by
    the root of the size; the mean; the mean magnitude; the largest magnitude. All have the scale of
    the entries, so that one absolute tolerance fits. The projections depend on every entry.
    """
    array = np.asarray(array)
    flat = array.reshape(-1).astype(np.float64)
    if flat.size > WHOLE:
        rng = random("digest of %s, %d" % (name, flat.size))
        entries = flat[rng.randint(0, flat.size, ENTRIES)]
        signs = 2 * rng.randint(0, 2, (PROJECTIONS, flat.size)) - 1
        size = np.abs(flat)
        summary = [flat.mean(), size.mean(), size.max()]
        flat = np.concatenate([entries, signs.dot(flat) / np.sqrt(flat.size), summary])
    return flat.astype(array.dtype)


def weights(model):
    """Weights by name, with biases that are not zero.

    `model` is "sine-denoiser/rnn" (birnn, bigru), "vae", "dense-autoencoder/1" (2, 3), "fgsm",
    "sine-dense", "conv-autoencoder", "gan/generator" or "gan/discriminator".
    """
    found = OrderedDict()
    for name, shape in _shapes(model):
        low, high = _bounds(model, name, shape)
        values = random("%s %s" % (model, name)).uniform(low, high, shape)
        found[name] = values.astype(np.float32)
    return found


def _shapes(model):
    system, _, variant = model.partition("/")
    if system == "sine-denoiser":
        return _recurrent(variant) + _linear("fc", HIDDEN * (1 if variant == "rnn" else 2), 1)
    if system == "vae":
        sizes = dict(fc1=(784, 400), fc21=(400, 20), fc22=(400, 20), fc3=(20, 400), fc4=(400, 784))
        return [pair for name in sorted(sizes) for pair in _linear(name, *sizes[name])]
    if system == "dense-autoencoder":
        widths = ENCODERS[variant] + ENCODERS[variant][-2::-1]
        places = range(len(widths) - 1)
        return [p for i in places for p in _linear("fc%d" % (i + 1), widths[i], widths[i + 1])]
    if system == "fgsm":
        convolutions = [("conv1", (10, 1, 5, 5)), ("conv2", (20, 10, 5, 5))]
        pairs = [[(n + ".weight", s), (n + ".bias", s[:1])] for n, s in convolutions]
        return pairs[0] + pairs[1] + _linear("fc1", 320, 50) + _linear("fc2", 50, 10)
    if system == "conv-autoencoder":
        return _convolutions()
    widths = {
        "sine-dense": (1, 5, 5, 1),
        "gan/generator": (100, 256, 512, 1024, 784),
        "gan/discriminator": (784, 1024, 512, 256, 1),
    }[model]
    layers = [("dense_%d" % i, widths[i - 1 : i + 1]) for i in range(1, len(widths))]
    return [p for n, s in layers for p in ((n + "/kernel", s), (n + "/bias", s[1:]))]


def _linear(name, inputs, outputs):
    return [(name + ".weight", (outputs, inputs)), (name + ".bias", (outputs,))]


def _recurrent(variant):
    rows = HIDDEN * (3 if variant == "bigru" else 1)
    shapes = [("weight_ih", (rows, 1)), ("weight_hh", (rows, HIDDEN))]
    shapes += [("bias_ih", (rows,)), ("bias_hh", (rows,))]
    ends = ("_l0",) if variant == "rnn" else ("_l0", "_l0_reverse")
    return [("rnn." + name + end, shape) for end in ends for name, shape in shapes]


def _convolutions():
    """In the order of Keras' `get_weights`: a batch norm follows each convolution but the last."""
    shapes, channels = [], 1
    for i, filters in enumerate(CONV_FILTERS + (1,)):
        name = "conv2d_%d" % (i + 1)
        shapes += [(name + "/kernel", (3, 3, channels, filters)), (name + "/bias", (filters,))]
        if i < len(CONV_FILTERS):
            name = "batch_normalization_%d" % (i + 1)
            kinds = ("gamma", "beta", "moving_mean", "moving_variance")
            shapes += [(name + "/" + kind, (filters,)) for kind in kinds]
        channels = filters
    return shapes


def _bounds(model, name, shape):
    kind = name.split("/")[-1].split(".")[-1]
    if kind in ("gamma", "moving_variance"):
        return 0.5, 1.5
    if kind in ("beta", "moving_mean"):
        return -0.3, 0.3
    if name.startswith("rnn."):
        bound = 1.5 / np.sqrt(HIDDEN)
    elif kind == "bias":
        bound = 0.1
    else:
        # He's bound, which keeps the size of activations in networks with ReLU.
        bound = np.sqrt(6.0 / np.prod(shape[:-1] if kind == "kernel" else shape[1:]))
    return -bound, bound


def pictures(name, count):
    """Pictures of thick strokes on a black ground: uint8 [count, 28, 28]."""
    rng = random("pictures " + name)
    found = np.zeros((count, 28, 28), np.uint8)
    for picture in found:
        for _ in range(2):
            row, column = rng.randint(6, 20, 2)
            for _ in range(14):
                picture[row : row + 2, column : column + 2] = rng.randint(60, 256, (2, 2))
                row, column = np.clip((row, column) + rng.randint(-2, 3, 2), 3, 23)
    return found


def unit(pixels):
    """Bytes to [0, 1], as `ToTensor` and S5 do: divided by 255 in float32."""
    return pixels.astype(np.float32) / np.float32(255)


def signed(pixels):
    """Bytes to [-1, 1], as S9 does in float32."""
    return (pixels.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)


def normals(name, shape):
    """Standard normal noise."""
    return random("normals " + name).normal(size=shape).astype(np.float32)


def noisy(name, clean):
    """The noise of S5: `clip(x + 0.5 N(0, 1), 0, 1)`, rounded to float32 at the end."""
    noise = random("normals " + name).normal(size=clean.shape)
    return np.clip(clean + 0.5 * noise, 0, 1).astype(np.float32)


def denoiser_batch():
    """Noisy and clean sines of S1, [4, 100, 1] each."""
    phase = np.arange(CURVE)[None] + np.array([0, 17, 40, 59])[:, None]
    clean = np.sin(2 * np.pi * phase / 60)
    noise = random("sine-denoiser noise").uniform(-0.35, 0.35, clean.shape)
    return [x.astype(np.float32)[..., None] for x in (clean + noise, clean)]


def sine_points():
    """The angles 0, 0.1, ..., 6.2 and their sines, [63, 1] each."""
    angles = np.arange(63) / 10.0
    return angles.astype(np.float32)[:, None], np.sin(angles).astype(np.float32)[:, None]


def attacked_pictures():
    """Inputs of S4, float32 [6, 1, 28, 28], and their labels, int64 [6].

    Three pictures of strokes; one with a single bright pixel and one that is black, so that nearly
    all pooling windows have ties; one of noise without ties.
    """
    pixels = np.zeros((6, 28, 28), np.uint8)
    pixels[:3] = pictures("fgsm", 3)
    pixels[3, 13, 14] = 255
    pixels[5] = random("fgsm noise").randint(0, 256, (28, 28))
    return unit(pixels)[:, None], np.array([7, 2, 1, 0, 4, 9])


def prescribed_gradients(step):
    """64 gradients of both signs with magnitudes from 1e-10 to 10; entry 5 is always 0."""
    rng = random("prescribed gradients %d" % step)
    values = 10.0 ** rng.uniform(-10, 1, 64) * rng.choice([-1, 1], 64)
    values[5] = 0
    return values.astype(np.float32)


# Probabilities at, inside and outside the clipping bounds of the two frameworks, and targets.
TORCH_PROBABILITIES = (0, 1e-12, 1e-7, 0.5, 1 - 6e-8, 1)
TORCH_TARGETS = (0, 0.3, 1)
KERAS_PROBABILITIES = (0, 1e-8, 1e-7, 2e-7, 0.5, 1 - 2e-7, 1 - 1e-7, 1 - 1e-8, 1)
KERAS_TARGETS = (0, 0.9, 1)


def saturated(probabilities, targets):
    """Each probability with each target, [probabilities, targets] each."""
    p, t = np.meshgrid(probabilities, targets, indexing="ij")
    return p.astype(np.float32), t.astype(np.float32)
