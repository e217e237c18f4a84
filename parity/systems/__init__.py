"""The study's systems: each has a case with a JAX port, and functions that make its originals."""
