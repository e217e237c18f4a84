"""Compiles `chifoumi_jax/ops/cpp` into the wheel, where there is a C++ compiler.

Without one the wheel is pure Python, and `chifoumi_jax.ops` computes in XLA what it would have
compiled: the same results, two to three times as slowly.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("chifoumi_jax/ops/cpp")
LIBRARY = Path("chifoumi_jax/ops/_native.so")
# Beside it: what it was made from, and what it was then.
MADE_FROM = ".made-from"
# Compiled for each instruction set and type; the others once, with XLA's headers.
KERNELS = ("kernels.cc", "depthwise.cc")
HANDLERS = ("library.cc", "handlers.cc", "depthwise_handlers.cc")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-Wall", "-Wno-psabi", "-Wno-attributes")
# In float64 these are for proofs alone, and take the compiler a third of the time if it hurries.
HURRIED = {("depthwise.cc", "double"): ("-O1",)}
# A name for each instruction set, and what makes the compiler use it.
X86 = {
    "v4": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
    "v3": ("-march=x86-64-v3",),
}


class NativeHook(BuildHookInterface[Any]):
    """Adds the library to the wheel, or says why there is none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, before the files of the wheel are gathered."""
        root = Path(self.root)
        library = root / LIBRARY
        try:
            compile_library(root / SOURCES, library)
        except (OSError, subprocess.CalledProcessError) as error:
            # What other sources made must not stay.
            library.unlink(missing_ok=True)
            library.with_suffix(MADE_FROM).unlink(missing_ok=True)
            self.app.display_warning(f"chifoumi-jax is built without its native kernels: {error}")
            return
        build_data["artifacts"].append(LIBRARY.as_posix())
        build_data["pure_python"] = False
        # It is found with ctypes: one build serves every Python of this platform.
        build_data["tag"] = f"py3-none-{_platform_tag()}"


def compile_library(sources: Path, library: Path) -> None:
    """Compile the sources into one shared library, unless it is there and was made from the same.

    Raises:
        OSError: There is no compiler.
        subprocess.CalledProcessError: It failed; what it wrote went to standard error.
    """
    compiler = shlex.split(os.environ.get("CXX", "")) or [_find_compiler()]
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    instruction_sets = {"baseline": (), **(X86 if is_x86 else {})}
    include = ("-isystem", _xla_headers())
    commands: list[tuple[str, str, tuple[str, ...]]] = [(name, "", include) for name in HANDLERS]
    for name, flags in instruction_sets.items():
        for real in ("float", "double"):
            variant = f"{name}_{real}"
            defines = (f"-DVARIANT={variant}", f"-DREAL={real}")
            commands += [
                (source, variant, (*flags, *defines, *HURRIED.get((source, real), ())))
                for source in KERNELS
            ]
    made_from = _fingerprint(sources, compiler, commands)
    record = library.with_suffix(MADE_FROM)
    if library.exists() and record.exists() and record.read_text() == made_from + _digest(library):
        return
    with tempfile.TemporaryDirectory() as build, ThreadPoolExecutor(os.cpu_count()) as pool:

        def compile_one(source: str, variant: str, flags: tuple[str, ...]) -> Path:
            compiled = Path(build) / f"{source}_{variant}.o"
            _run(*compiler, *FLAGS, *flags, "-c", sources / source, "-o", compiled)
            return compiled

        objects = list(pool.map(lambda command: compile_one(*command), commands))
        # Not over the old one: a process may have it open.
        fresh = library.with_suffix(f".{os.getpid()}")
        _run(*compiler, "-shared", *objects, "-o", fresh)
        fresh.replace(library)
        record.write_text(made_from + _digest(library))


def _fingerprint(sources: Path, compiler: list[str], commands: list[Any]) -> str:
    """Says what a library is made from: the sources, XLA's headers, the compiler, its flags."""
    from jaxlib.version import __version__ as jaxlib_version

    version = subprocess.run([*compiler, "--version"], check=True, capture_output=True).stdout
    # The headers lie elsewhere in each environment; their version says what they are.
    flags = [
        (source, variant, [flag for flag in flags if flag != _xla_headers()])
        for source, variant, flags in commands
    ]
    found = hashlib.sha256(repr((jaxlib_version, version, FLAGS, flags)).encode())
    for path in sorted(sources.iterdir()):
        found.update(f"{path.name} {_digest(path)}".encode())
    return f"{found.hexdigest()} "


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _find_compiler() -> str:
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return found
    raise FileNotFoundError("there is no C++ compiler (c++, g++ or clang++); set CXX to name one")


def _xla_headers() -> str:
    import jaxlib

    return str(Path(jaxlib.__file__).parent / "include")


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


def _platform_tag() -> str:
    from packaging.tags import sys_tags

    # The most specific one would promise an old C library (manylinux), which nobody checked.
    return next(tag.platform for tag in sys_tags() if "manylinux" not in tag.platform)
