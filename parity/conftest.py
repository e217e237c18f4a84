"""The suite of the ladder: `pytest parity`."""

import os

# TensorFlow says on standard error what it found in the machine.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
