"""Asking a trained model: loading it, its answers on photos and files, and its heat maps."""
