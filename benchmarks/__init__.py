"""Measured claims: each module here makes one of the tables in `docs/results.md`."""
