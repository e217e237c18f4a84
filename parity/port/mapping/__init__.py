"""Which parameter of the original is which of the port, and how its axes are laid out."""
