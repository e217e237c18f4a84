"""What `parity.compare` is given as an original: Keras models and PyTorch modules."""
