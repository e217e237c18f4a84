"""How large what is read may be. Each limit is far above what the two networks need."""

# More than three times the study's 600. The first Dense layer then takes 1.06 GB in float32.
MAX_IMAGE_SIZE = 2048
# The last layer of either network stays below 3 MB.
MAX_CLASSES = 10_000

# The study's network takes 87 MB. One of `MAX_IMAGE_SIZE`, with both of Adam's moments, 3.2 GB.
MAX_KERAS_BYTES = 2**32
# A perceptron of `MAX_CLASSES` classes takes 1.6 MB; a training's checkpoint of it some times that.
MAX_TORCH_BYTES = 2**26

# What an optimiser keeps of each weight, at most: AMSGrad's three moments and a moving average.
OPTIMIZER_COPIES = 4
# Groups, attributes and configuration of a Keras file take 40 kB.
OVERHEAD_BYTES = 2**20

# A configuration takes 9 kB, a safetensors header 0.5 kB.
MAX_JSON_BYTES = 2**18
# `{"config": {"layers": [{"inbound_nodes": [{"args": [{"config": {"shape": [` is eleven deep.
MAX_JSON_DEPTH = 32

# An entry of a zip directory takes some 60 bytes; Keras writes 3 of them and PyTorch one a tensor,
# of which EfficientNet-Lite0 has 296.
MAX_ZIP_DIRECTORY_BYTES = 2**17
MAX_ZIP_ENTRIES = 1024
# Keras and PyTorch pack nothing. Packed again, trained weights hardly shrink, text tenfold, and an
# optimiser's moments before its first step to nothing: that file then to a third. Deflate could
# make one byte of a thousand zeros.
MAX_ZIP_RATIO = 20

# A state dict of either perceptron takes 240 opcodes, one of EfficientNet-Lite0 10,696.
MAX_PICKLE_STEPS = 40_000

# A Keras file of the network has 70 HDF5 objects, of which at most 20 in a group, 4 deep.
MAX_HDF5_OBJECTS = 512
MAX_HDF5_MEMBERS = 64
MAX_HDF5_DEPTH = 8
# Keras 2.2.4 writes 4 attributes on a group.
MAX_HDF5_ATTRIBUTES = 32
# An object's header lies in one part or two, of less than a kilobyte; a text of Keras' in a heap of
# its own if it is long, otherwise in one of 4 kB with others.
MAX_HDF5_BLOCKS = 16
MAX_HDF5_MESSAGES = 512
MAX_HDF5_HEAPS = 16
MAX_HDF5_BLOCK_BYTES = 2 * MAX_JSON_BYTES
