"""A game in the browser against the machine: `chifoumi play`."""
