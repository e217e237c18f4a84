"""Fixtures and settings of all tests."""

import gc
import os
from collections.abc import Iterator

import jax
import jaxtyping
import pytest

# Each call of a function of these packages checks the types of its arguments and its result, and
# the shapes of arrays. `chifoumi_jax.ops` checks its own arguments, and most of its tests call it
# with wrong ones. `chifoumi_jax.hands` makes so many calls that the checks would take a third of
# its tests' time. In `parity` the test files are left out, because pytest rewrites those itself.
CHECKED = {
    "chifoumi_jax": (
        *("architectures", "backbones", "convert", "data", "distributed", "export", "files"),
        *("html", "losses", "metrics", "models", "optim", "play", "prediction"),
        *("recipes", "reports", "systems", "text", "training"),
    ),
    "parity": (
        *("candidate", "case", "check", "comparison", "distance", "equivalence", "faults"),
        *("independent_training", "inputs", "original", "originals", "port", "precision"),
        *("report", "rungs", "system_case", "systems", "value_and_grad", "verdicts"),
    ),
}
jaxtyping.install_import_hook(
    [f"{package}.{room}" for package, rooms in CHECKED.items() for room in rooms],
    "runtime_types.check",
)

# The test files that take longest. That of the browser comes early, because it often waits, and at
# first `make test` also uses the processor for its checks.
LONGEST = (
    "test_small_systems.py",
    "test_ladder.py",
    "test_play_browser.py",
    "test_export.py",
    "test_benchmarks.py",
    "test_train.py",
    "test_devices.py",
    "test_transfer.py",
    "test_cli.py",
    "test_systems.py",
    "test_efficientnet_lite.py",
    "test_crossval.py",
    "test_hands.py",
    "test_compilation_cache.py",
    "test_resume.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long files first, so that parallel workers end at about the same time."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(LONGEST)))


def pytest_collection_finish() -> None:
    """Collect garbage less often: scanning live objects took a tenth of the time."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def shared_compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Share compiled programs between all tests and the processes that they start."""
    # With pytest-xdist each worker has its own folder inside the session's folder.
    base = tmp_path_factory.getbasetemp()
    session = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    compiled = session / "compiled-by-all"
    compiled.mkdir(exist_ok=True)
    cache = {
        # For decoded pixels and rendered hands. Another version may use the user's own cache.
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    previous = {name: os.environ.get(name) for name in cache}
    os.environ |= cache
    jax.config.update("jax_compilation_cache_dir", cache["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    yield
    for name, value in previous.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """Check no types, for a test of what the code itself says about an argument of a wrong type."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module", autouse=True)
def clear_compiled_programs() -> Iterator[None]:
    """Free the compiled programs of each test module, which would otherwise add up to gigabytes.

    The next module reads those that it needs from the compilation cache.
    """
    yield
    jax.clear_caches()
