"""The commands of `chifoumi`, one a file. Each function is a command; its arguments are options."""
