"""The rungs of the ladder for anyone's port, one a file."""
