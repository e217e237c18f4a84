"""Size limits for untrusted files; each is far above what the two networks need."""

# More than three times the study's 600 pixels; the first Dense layer then takes 1.06 GB in float32.
MAX_IMAGE_SIZE = 2048
# The last layer of either network stays below 3 MB.
MAX_CLASSES = 10_000

# The study's network takes 87 MB. At `MAX_IMAGE_SIZE`, with Adam's two moments, it takes 3.2 GB.
MAX_KERAS_BYTES = 2**32
# A perceptron with `MAX_CLASSES` classes takes 1.6 MB, and its checkpoint a few times that.
MAX_TORCH_BYTES = 2**26

# The most copies of each weight in an optimiser: AMSGrad's three moments and a moving average.
OPTIMIZER_COPIES = 4
# A Keras file's groups, attributes and configuration take 40 kB.
OVERHEAD_BYTES = 2**20

# A configuration takes 9 kB, a safetensors header 0.5 kB.
MAX_JSON_BYTES = 2**18
# `{"config": {"layers": [{"inbound_nodes": [{"args": [{"config": {"shape": [` is eleven deep.
MAX_JSON_DEPTH = 32

# A zip directory entry takes about 60 bytes. Keras writes 3 entries. PyTorch writes one for each
# tensor, and EfficientNet-Lite0 has 296 tensors.
MAX_ZIP_DIRECTORY_BYTES = 2**17
MAX_ZIP_ENTRIES = 1024
# Keras and PyTorch do not compress. If a user compresses a file, trained weights hardly shrink and
# text shrinks tenfold. An optimiser's moments before its first step shrink to nothing, so the whole
# file shrinks to a third. Deflate could pack a thousand zeros into one byte.
MAX_ZIP_RATIO = 20

# The state dict of either perceptron takes 240 opcodes, that of EfficientNet-Lite0 takes 10,696.
MAX_PICKLE_OPCODES = 40_000

# A Keras file of the network has 70 HDF5 objects, at most 20 in one group and nested 4 deep.
MAX_HDF5_OBJECTS = 512
MAX_HDF5_MEMBERS = 64
MAX_HDF5_DEPTH = 8
# Keras 2.2.4 writes 4 attributes per group.
MAX_HDF5_ATTRIBUTES = 32
# An object's header has one or two parts of less than a kilobyte. A long Keras string has its own
# heap; short ones share a heap of 4 kB.
MAX_HDF5_BLOCKS = 16
MAX_HDF5_MESSAGES = 512
MAX_HDF5_HEAPS = 16
MAX_HDF5_BLOCK_BYTES = 2 * MAX_JSON_BYTES
