"""Faults that ports are known for, planted on purpose: the ladder must find each."""
