"""Train the model that is shipped with the package: `python docs/make_small.py WORK-FOLDER`.

It is trained on rendered hands alone, with a fourth class of pictures without a hand. The training
takes about fifteen minutes on two cores. A stopped training continues where it stopped.
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

HANDS, BACKGROUNDS = 3600, 1000
EPOCHS = 8


def photos(directory: Path) -> Path:
    """Return the folder of varied hands and of backgrounds without a hand; create it if needed."""
    if directory.is_dir():
        return directory
    hands = hands_folder(wild=HANDS)
    temporary = directory.with_name("drawing")
    shutil.rmtree(temporary, ignore_errors=True)
    test = len(GESTURES)
    write_hands(
        temporary, images=BACKGROUNDS + test, test_images=test, variety=WILD, gestures=(NOTHING,)
    )
    for split in ("train", "test"):
        for gesture in GESTURES:
            shutil.copytree(hands / split / gesture, temporary / split / gesture)
    temporary.replace(directory)
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
