"""Training: turns a recipe and photos into a run."""
