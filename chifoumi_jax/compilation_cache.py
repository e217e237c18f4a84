"""JAX's persistent compilation cache, in the user's cache folder."""

from __future__ import annotations

import jax

from chifoumi_jax.files import cache_path

# A recipe's programs take 1 to 5 MB. JAX removes the least recently used ones first.
_MAX_BYTES = 500_000_000


def enable_compilation_cache() -> None:
    """Save compiled programs from now on, and reuse those that earlier processes saved.

    Only command lines call this, because a library leaves such settings to its user. If JAX's own
    setting is given, for instance by the variable `JAX_COMPILATION_CACHE_DIR`, nothing is changed.

    Raises:
        OSError: If the user's cache folder cannot be written to.
    """
    if getattr(jax.config, "jax_compilation_cache_dir", None) is not None:
        return
    directory = cache_path("compiled")
    directory.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_compilation_cache_max_size", _MAX_BYTES)
    # No lower limits, because each of many small programs takes tens of milliseconds to compile.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
