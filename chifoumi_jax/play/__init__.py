"""The browser game against the machine: `chifoumi play`."""
