"""The rungs of the ladder for the study's ports, one file each."""
