"""Compiles `chifoumi_jax/ops/cpp` into the wheel if there is a C++ compiler.

Without a compiler the wheel is pure Python. `chifoumi_jax.ops` then computes the same results in
XLA, two to three times as slowly.
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
# Suffix of a file beside the library: digests of its sources and of the library itself.
MADE_FROM = ".made-from"
# Kernels are compiled for each instruction set and type, handlers once, with XLA's headers.
KERNELS = ("kernels.cc", "depthwise.cc")
HANDLERS = ("library.cc", "handlers.cc", "depthwise_handlers.cc")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-Wall", "-Wno-psabi", "-Wno-attributes")
# The float64 kernels are only for proofs, and -O1 compiles them in a third of the time.
HURRIED = {("depthwise.cc", "double"): ("-O1",)}
# Compiler flags for each instruction set.
X86 = {
    "v4": ("-march=x86-64-v4", "-mprefer-vector-width=512"),
    "v3": ("-march=x86-64-v3",),
}


class NativeHook(BuildHookInterface[Any]):
    """Adds the library to the wheel, or warns why there is none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles the library before the files of the wheel are collected."""
        root = Path(self.root)
        library = root / LIBRARY
        try:
            compile_library(root / SOURCES, library)
        except (OSError, subprocess.CalledProcessError) as error:
            # A library of other sources must not stay.
            library.unlink(missing_ok=True)
            library.with_suffix(MADE_FROM).unlink(missing_ok=True)
            self.app.display_warning(f"chifoumi-jax is built without its native kernels: {error}")
            return
        build_data["artifacts"].append(LIBRARY.as_posix())
        build_data["pure_python"] = False
        # The library is loaded with ctypes, so one build works with every Python of this platform.
        build_data["tag"] = f"py3-none-{_platform_tag()}"


def compile_library(sources: Path, library: Path) -> None:
    """Compiles the sources into one shared library, unless an up-to-date library exists.

    Raises:
        OSError: If there is no compiler.
        subprocess.CalledProcessError: If the compiler fails; its output goes to standard error.
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
        # Written to a new file first, because a process may have the old library open.
        fresh = library.with_suffix(f".{os.getpid()}")
        _run(*compiler, "-shared", *objects, "-o", fresh)
        fresh.replace(library)
        record.write_text(made_from + _digest(library))


def _fingerprint(sources: Path, compiler: list[str], commands: list[Any]) -> str:
    """Returns a digest of the library's inputs: sources, XLA's headers, compiler and flags."""
    from jaxlib.version import __version__ as jaxlib_version

    version = subprocess.run([*compiler, "--version"], check=True, capture_output=True).stdout
    # The path of the headers differs in each environment, so only their version counts.
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

    # The most specific tag (manylinux) would promise support for an old C library, unchecked.
    return next(tag.platform for tag in sys_tags() if "manylinux" not in tag.platform)
