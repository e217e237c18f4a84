"""Reads weight files that may be damaged or hostile: checks limits first, runs nothing."""
