"""Readers of weight files that may be damaged or hostile: limits first, nothing is executed."""
