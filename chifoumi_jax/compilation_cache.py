"""What XLA compiled, kept between the starts of a command."""

from __future__ import annotations

import jax

from chifoumi_jax.files import cache_path

# A recipe's programs take 1 to 5 MB; the least recently used go first.
_MAX_BYTES = 500_000_000


def keep_compiled() -> None:
    """Keep what is compiled from now on, and take what an earlier process kept.

    For command lines: a library leaves such settings to its user. JAX's own setting, for instance
    the variable `JAX_COMPILATION_CACHE_DIR`, goes first.

    Raises:
        OSError: The user's cache cannot be written to.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    directory = cache_path("compiled")
    directory.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_compilation_cache_max_size", _MAX_BYTES)
    # Everything: of many small programs each takes some tens of milliseconds to compile.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
