"""What all tests share."""

import gc
import os
from collections.abc import Iterator

import jax
import pytest

# The files that take longest.
LONGEST = (
    "test_ladder.py",
    "test_export.py",
    "test_transfer.py",
    "test_benchmarks.py",
    "test_devices.py",
    "test_play_browser.py",
    "test_cli.py",
    "test_compiled.py",
    "test_crossval.py",
    "test_train.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that workers that share the files end together."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Look for garbage less often: a tenth of the time went into looking at what stays."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Share what is compiled between all tests and the processes that they start."""
    # Of several workers each has a folder of its own in the session's.
    base = tmp_path_factory.getbasetemp()
    session = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    compiled = session / "compiled-by-all"
    compiled.mkdir(exist_ok=True)
    cache = {
        # Decoded pixels and rendered hands: not the user's own, which another version may share.
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    before = {name: os.environ.get(name) for name in cache}
    os.environ |= cache
    jax.config.update("jax_compilation_cache_dir", cache["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="module", autouse=True)
def forget_compiled() -> Iterator[None]:
    """What a module compiled takes gigabytes at the end of a session; the next reads it again."""
    yield
    jax.clear_caches()
