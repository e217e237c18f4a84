"""Shared by the tests of the native kernels."""

import os
import subprocess
import sys

import pytest

from chifoumi_jax.ops import native

# Without a compiler there are no kernels to test. With a compiler, `test_ops` fails if they are
# missing.
needs_native = pytest.mark.skipif(bool(native.absence), reason=native.absence)


def outputs_by_core_count(code: str) -> set[str]:
    """Returns what a program prints with one core and with all cores."""
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
