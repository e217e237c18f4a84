"""Writing golden files: arrays beside their versions. Runs on Python 3.6 and on today's."""

import hashlib
import importlib
import json
import os
import platform
from collections import OrderedDict

import numpy as np
import seeded


def versions(*modules):
    """Versions of Python and of these modules."""
    found = OrderedDict(python=platform.python_version(), machine=platform.machine())
    for name in modules:
        found[name] = importlib.import_module(name).__version__
    return found


class GoldenFile:
    """Arrays by name, and text that describes them."""

    def __init__(self):
        self.arrays = OrderedDict()
        self.text = OrderedDict()

    def add(self, name, array):
        """Keep a whole array."""
        assert name not in self.arrays, name
        self.arrays[name] = np.array(array)

    def add_sample(self, name, array):
        """Keep an array's shape and the entries that `seeded.places` names."""
        self.add(name, seeded.sample(name, array))
        self.text.setdefault("shapes", OrderedDict())[name] = list(np.shape(array))

    def write(self, path):
        """Write `path`.npz and, beside it, `path`.json with the text and the sum of the arrays."""
        np.savez_compressed(path + ".npz", **self.arrays)
        with open(path + ".npz", "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        self.text["sha256"] = digest
        with open(path + ".json.tmp", "w") as file:
            json.dump(self.text, file, indent=1, default=lambda number: number.item())
            file.write("\n")
        os.replace(path + ".json.tmp", path + ".json")
