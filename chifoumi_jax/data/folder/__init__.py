"""From an unchecked folder to photos, classes and splits, and a list of all that is wrong."""
