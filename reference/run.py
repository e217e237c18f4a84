"""What the commands of the small systems' originals share: options, and a training's record.

With `--given FILE` an original trains on prescribed examples, in a prescribed order and from
prescribed weights. FILE is a NumPy archive: `data/NAME` are arrays of examples, `weights/NAME` the
initial weights, and `orders` the indices of each epoch, `[epochs, examples]`.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from reference import mnist


class Run:
    """A training of an original.

    Attributes:
        epochs: Number of epochs.
        seed: Seed of the framework.
        variant: Name of the architecture.
        weights: Prescribed initial weights, or None.
    """

    def __init__(
        self,
        name: str,
        description: str | None,
        arguments: Sequence[str] | None,
        *,
        epochs: Mapping[str, int],
        seed: int = 0,
        digits: bool = False,
    ) -> None:
        """Read the options of `python -m reference.NAME`.

        Args:
            name: The module's name.
            description: Its help.
            arguments: The command line; that of the process if None.
            epochs: The study's number of epochs for each variant, the default variant first.
            seed: The default seed.
            digits: Whether it is trained on digits, which `--data` or `--given` names.
        """
        parser = argparse.ArgumentParser(
            prog=f"python -m reference.{name}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("--epochs", type=int, help="by default as many as the study trained")
        parser.add_argument("--seed", type=int, default=seed)
        parser.add_argument("--variant", choices=list(epochs), default=next(iter(epochs)))
        parser.add_argument("--data", type=Path, help="folder with MNIST's idx files")
        parser.add_argument("--given", type=Path, help="archive of examples, orders and weights")
        parser.add_argument("--history", type=Path, help="write each epoch's values to this file")
        options = parser.parse_args(None if arguments is None else list(arguments))
        if digits and not (options.data or options.given):
            parser.error("--data is missing: name a folder with MNIST's idx files")
        self.variant: str = options.variant
        self.epochs: int = epochs[self.variant] if options.epochs is None else options.epochs
        self.seed: int = options.seed
        self.weights: dict[str, np.ndarray] | None = None
        self._data, self._history = options.data, options.history
        self._given: dict[str, np.ndarray] = {}
        if options.given:
            with np.load(options.given, allow_pickle=False) as archive:
                self._given = {name: archive[name] for name in archive.files}
            self.weights = self._group("weights")
        if "orders" in self._given and options.epochs is None:
            self.epochs = len(self._given["orders"])
        self._rows: list[dict[str, float]] = []
        self._seconds = 0.0

    def _group(self, prefix: str) -> dict[str, np.ndarray]:
        start = f"{prefix}/"
        return {n.removeprefix(start): v for n, v in self._given.items() if n.startswith(start)}

    def given_data(self) -> dict[str, np.ndarray]:
        """The prescribed examples by name, `train/…` and `test/…`; empty if there are none."""
        return self._group("data")

    def digits(self) -> tuple[np.ndarray, np.ndarray]:
        """Training and test images of the study, float32 in [0, 1], `[images, 28, 28]`."""
        if given := self.given_data():
            return given["train/images"], given["test/images"]
        train, test = self.pixels()
        return train / np.float32(255), test / np.float32(255)

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Training and test images of the folder, uint8 `[images, 28, 28]`."""
        found = mnist.read(self._data)
        return found["train_images"], found["test_images"]

    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Training and test labels of the images of `digits`, the integers 0 to 9."""
        if given := self.given_data():
            return given["train/labels"], given["test/labels"]
        found = mnist.read(self._data)
        return found["train_labels"], found["test_labels"]

    def orders(self, examples: int, drawn: int | None = None) -> Iterator[np.ndarray]:
        """The indices of each epoch: the prescribed ones, or a new permutation each.

        Args:
            examples: Number of examples.
            drawn: Draw this number of indices with replacement instead of a permutation.
        """
        if "orders" in self._given:
            yield from self._given["orders"]
            return
        rng = np.random.RandomState(self.seed)
        for _ in range(self.epochs):
            yield rng.permutation(examples) if drawn is None else rng.randint(examples, size=drawn)

    def start(self) -> None:
        """Start an epoch's clock."""
        self._seconds = time.monotonic()

    def stop(self, epochs: int = 1) -> None:
        """Stop the clock of one epoch or of several, so that a test does not count."""
        self._seconds = (time.monotonic() - self._seconds) / epochs

    def record(self, **values: float) -> None:
        """Print an epoch's values and keep them."""
        row = {"epoch": len(self._rows) + 1, **values, "seconds": round(self._seconds, 6)}
        self._rows.append(row)
        print(*(f"{name} {value:.10g}" for name, value in row.items()), flush=True)
        # Written once; a training of a thousand epochs would write a thousand times.
        if self._history and len(self._rows) == self.epochs:
            self._history.write_text(json.dumps(self._rows))
