"""The kinds of originals that `parity.compare` accepts: Keras models and PyTorch modules."""
