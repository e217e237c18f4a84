"""Make the pictures of the machine's hands in the game.

python docs/make_machine_hands.py
"""

from pathlib import Path

from PIL import Image

from chifoumi_jax.hands import GESTURES, render

# One that is well lit and upright: person, light and view are the same for all three.
SEED = 102
SIDE = 640
FOLDER = Path("chifoumi_jax/play/static")


def main() -> None:
    """Render, smooth by halving, and save."""
    for gesture in GESTURES:
        picture = Image.fromarray(render(gesture, seed=SEED, size=(SIDE, SIDE)))
        small = picture.resize((SIDE * 3 // 4, SIDE * 3 // 4), Image.Resampling.LANCZOS)
        small.save(FOLDER / f"machine-{gesture}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
