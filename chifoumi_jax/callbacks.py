"""The callback by which long work reports how far it is."""

from collections.abc import Callable

OnProgress = Callable[[int, int], object]
"""Called with the number of things that are done, and of all."""
