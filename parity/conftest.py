"""Settings for the tests of the ladder: `pytest parity`."""

import os

# TensorFlow logs the hardware that it found to standard error.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
