"""The study's systems: for each a case, which pairs a JAX port with its originals."""
