"""Turns an unchecked folder into photos, classes, splits and a list of problems."""
