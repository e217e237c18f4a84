"""What tests of the native kernels share."""

import os
import subprocess
import sys

import pytest

from chifoumi_jax.ops import native

# A machine without a compiler has no kernels to test; where there is one,
# `test_ops` fails without them.
needs_native = pytest.mark.skipif(bool(native.absence), reason=native.absence)


def printed_by_threads(code: str) -> set[str]:
    """What a program prints with one core and with all of them."""
    cores = sorted(os.sched_getaffinity(0))
    return {
        subprocess.run(
            [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {usable})\n{code}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for usable in (cores[:1], cores)
    }
