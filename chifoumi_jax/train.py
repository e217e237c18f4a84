"""`python -m chifoumi_jax.train`: the command `chifoumi train`."""

import sys

from chifoumi_jax.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
