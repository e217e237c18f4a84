"""Proving that a JAX model equals its Keras or PyTorch original, rung by rung."""
