"""Faults that are typical of ports, planted on purpose: the ladder must find each of them."""
