"""What `parity.compare` is given as a port: NNX modules, Linen modules, plain functions."""
