"""Make the pictures of the machine's hands in the game.

python docs/make_machine_hands.py
"""

from pathlib import Path

from PIL import Image

from chifoumi_jax.hands import GESTURES, render

# This seed gives a well-lit, upright hand; person, light and view are the same for all gestures.
SEED = 102
SIDE = 640
FOLDER = Path("chifoumi_jax/play/static")


def main() -> None:
    """Render each gesture, reduce it for smoother edges, and save it."""
    for gesture in GESTURES:
        picture = Image.fromarray(render(gesture, seed=SEED, size=(SIDE, SIDE)))
        small = picture.resize((SIDE * 3 // 4, SIDE * 3 // 4), Image.Resampling.LANCZOS)
        small.save(FOLDER / f"machine-{gesture}.jpg", quality=82, optimize=True)


if __name__ == "__main__":
    main()
