"""Writes golden files: arrays and the versions that made them. Runs on Python 3.6 and later."""

import hashlib
import importlib
import json
import os
import platform
from collections import OrderedDict

import numpy as np
import seeded


def versions(*modules):
    """Versions of Python, the machine type and these modules."""
    found = OrderedDict(python=platform.python_version(), machine=platform.machine())
    for name in modules:
        found[name] = importlib.import_module(name).__version__
    return found


class GoldenFile:
    """Arrays by name, and the text that describes them."""

    def __init__(self):
        self.arrays = OrderedDict()
        self.text = OrderedDict()

    def add(self, name, array):
        """Store a whole array."""
        assert name not in self.arrays, name
        self.arrays[name] = np.array(array)

    def add_sample(self, name, array):
        """Store an array's shape and the entries at `seeded.places`."""
        self.add(name, seeded.sample(name, array))
        self.text.setdefault("shapes", OrderedDict())[name] = list(np.shape(array))

    def write(self, path):
        """Write the arrays to `path`.npz, and the text with its SHA-256 to `path`.json."""
        np.savez_compressed(path + ".npz", **self.arrays)
        with open(path + ".npz", "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        self.text["sha256"] = digest
        with open(path + ".json.tmp", "w") as file:
            json.dump(self.text, file, indent=1, default=lambda number: number.item())
            file.write("\n")
        os.replace(path + ".json.tmp", path + ".json")
