"""The kinds of ports that `parity.compare` accepts: NNX modules, Linen modules and functions."""
