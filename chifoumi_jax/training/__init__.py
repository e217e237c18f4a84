"""Training: from a recipe and photos to a run."""
