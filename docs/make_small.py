"""Trains the model that comes with the package: `python docs/make_small.py WORK-FOLDER`.

From rendered hands alone, with a fourth class of pictures without a hand; some fifteen minutes on
two cores. A stopped training goes on where it was.
"""

import shutil
import sys
from pathlib import Path

from chifoumi_jax import load, recipes
from chifoumi_jax.builtin import NAME
from chifoumi_jax.data.dataset import hands_folder
from chifoumi_jax.hands import GESTURES, NOTHING, WILD, write_hands
from chifoumi_jax.prediction.model_file import write
from chifoumi_jax.training.fit import fit_once

HANDS, WITHOUT = 3600, 1000
EPOCHS = 8


def photos(directory: Path) -> Path:
    """A folder of varied hands, and of what lies behind hands."""
    if directory.is_dir():
        return directory
    hands = hands_folder(wild=HANDS)
    whole = directory.with_name("drawing")
    shutil.rmtree(whole, ignore_errors=True)
    test = len(GESTURES)
    write_hands(whole, images=WITHOUT + test, test_images=test, variety=WILD, gestures=(NOTHING,))
    for split in ("train", "test"):
        for gesture in GESTURES:
            shutil.copytree(hands / split / gesture, whole / split / gesture)
    whole.replace(directory)
    return directory


if __name__ == "__main__":
    work = Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    recipe = recipes.small.replace(
        data=photos(work / "pictures"), epochs=EPOCHS, runs=work / "runs"
    )
    run = fit_once(recipe)
    target = Path(__file__).parents[1] / "chifoumi_jax" / "builtin" / f"{NAME}.safetensors"
    write(load(run.directory), target, half=True)
    print(f"{target}: {target.stat().st_size:,} bytes")
