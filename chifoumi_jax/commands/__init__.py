"""The commands of `chifoumi`, one per file. A function is a command, its arguments are options."""
