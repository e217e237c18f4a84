"""Make `docs/hands.jpg` from a folder of rendered hands.

chifoumi hands --out hands --images 72 --test-images 36 && python docs/make_hands.py hands
"""

import sys
from pathlib import Path

from chifoumi_jax.hands.pose import GESTURES
from chifoumi_jax.hands.sheet import contact_sheet

COLUMNS = 12


def main(folder: Path) -> None:
    """Save a sheet with one row for each gesture, training hands above test hands."""
    pictures = [
        picture
        for split in ("train", "test")
        for gesture in GESTURES
        for picture in sorted((folder / split / gesture).iterdir())[:COLUMNS]
    ]
    sheet = contact_sheet(pictures, COLUMNS, 100)
    sheet.save("docs/hands.jpg", quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
