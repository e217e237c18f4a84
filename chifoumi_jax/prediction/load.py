"""`load(run)`: the classifier of a run, of an exported model file, or the packaged one."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from chifoumi_jax import builtin
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.model_file import SUFFIX, load_safetensors
from chifoumi_jax.training import calibration, checkpoint, run
from chifoumi_jax.training.calibration import UNCALIBRATED
from chifoumi_jax.training.program_cache import program_of
from chifoumi_jax.training.run import RunError
from chifoumi_jax.training.step import NOTHING, STATISTICS, merge_statistics


def load(
    directory: str | os.PathLike[str],
    *,
    best: bool = False,
    averaged: bool = True,
    mirrored: bool = True,
) -> Classifier:
    """The classifier of a run, from its newest whole checkpoint, or from its best one.

    A `.safetensors` file of `chifoumi export` will do in place of the run's folder, and so will
    `small`, the model that comes with the package, where no run has that name.

    Args:
        directory: The run's folder.
        best: Take the best checkpoint instead of the last.
        averaged: Whether to take the weights' moving average, where the run kept one, or else what
            the last step left.
        mirrored: Whether to ask about each photo's mirror image too, where the recipe does; without
            it an answer takes half as long. Temperature and threshold were measured with the
            recipe's own way: changed by this or by `averaged`, a classifier has none.

    Raises:
        RunError: If the folder is no run, or what is asked for is not in a file.
        CheckpointError: If no checkpoint is whole.
        WeightsError: If the file is damaged, hostile or of another kind.
    """
    if os.fspath(directory) == builtin.NAME and not run.is_run(directory):
        directory = builtin.builtin_run()
    if Path(directory).suffix == SUFFIX and not Path(directory).is_dir():
        if best:
            raise RunError(f"{directory} holds one state alone: the best one is the run's to tell")
        if not (averaged and mirrored):
            raise RunError(f"{directory} is asked as it is: another way is for the run's folder")
        return load_safetensors(directory)
    trained, config = run.read_config(directory)
    recipe = trained.replace(
        average=trained.average if averaged else 0.0, mirror_test=mirrored and trained.mirror_test
    )
    classes = config.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise RunError(f"{directory}/config.json names no classes")
    checkpoints = Path(directory) / "checkpoints"
    step, ailments = checkpoint.newest(checkpoints)
    for ailment in ailments:
        warnings.warn(f"passed over a damaged checkpoint: {ailment}", stacklevel=2)
    if step is None:
        raise checkpoint.CheckpointError(
            "; ".join([f"{directory} has no whole checkpoint; train it again", *ailments])
        )
    last = step
    # A training that stopped early went on past its best.
    if best or recipe.patience:
        step = checkpoint.best(checkpoints, step)
    program = program_of(recipe, len(classes))
    # A training's average is all that is needed of what it trained.
    names = ("average" if recipe.average else "params", STATISTICS)
    parts = program.abstract_state().trees()
    wanted = {name: parts[name] for name in names if name in parts}
    trees, _ = checkpoint.load(checkpoints / f"{step:08d}", wanted)
    weights = merge_statistics(trees[names[0]], trees.get(STATISTICS, NOTHING))
    # Of what the training ended with: of another state it says nothing.
    known = recipe == trained and (step == last or recipe.patience)
    measured = calibration.read(Path(directory)) if known else UNCALIBRATED
    return Classifier(recipe, classes, program, weights, measured)
