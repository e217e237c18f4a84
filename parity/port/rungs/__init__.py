"""The rungs of the ladder for any port, one file each."""
