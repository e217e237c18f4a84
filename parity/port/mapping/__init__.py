"""Maps the original's parameters to the port's, including the order of their axes."""
