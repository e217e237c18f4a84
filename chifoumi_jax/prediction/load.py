"""`load(run)`: the classifier of a run, of an exported model file, or of the packaged model."""

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
    """The classifier of a run, from its newest intact checkpoint or from its best one.

    Args:
        directory: The run's folder, or a `.safetensors` file of `chifoumi export`, or `small`, the
            model that comes with the package. A run's folder named `small` has priority.
        best: Use the best checkpoint instead of the last.
        averaged: Whether to use the moving average of the weights if the run has one; if false, the
            weights of the last step.
        mirrored: Whether to classify each photo's mirror image too if the recipe does; without it
            a prediction takes half the time.

    Returns:
        The classifier. It is uncalibrated if `averaged` or `mirrored` changes the recipe, because
        temperature and threshold were measured with the recipe's own settings.

    Raises:
        RunError: If the folder is not a run, or a file is loaded with `best` or without `averaged`
            or `mirrored`.
        CheckpointError: If no checkpoint is intact.
        WeightsError: If the file is damaged, malicious or of another format.
    """
    if os.fspath(directory) == builtin.NAME and not run.is_run(directory):
        directory = builtin.builtin_run()
    if Path(directory).suffix == SUFFIX and not Path(directory).is_dir():
        if best:
            raise RunError(
                f"{directory} holds a single state: for the best checkpoint name the run's folder"
            )
        if not (averaged and mirrored):
            raise RunError(
                f"{directory} can only be loaded with averaged=True and mirrored=True: for other "
                "values name the run's folder"
            )
        return load_safetensors(directory)
    trained, config = run.read_config(directory)
    recipe = trained.replace(
        average=trained.average if averaged else 0.0, mirror_test=mirrored and trained.mirror_test
    )
    classes = config.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise RunError(f"{directory}/config.json has no list of classes; copy the run again")
    checkpoints = Path(directory) / "checkpoints"
    step, problems = checkpoint.newest(checkpoints)
    for problem in problems:
        warnings.warn(f"skipped a damaged checkpoint: {problem}", stacklevel=2)
    if step is None:
        raise checkpoint.CheckpointError(
            "; ".join([f"{directory} has no intact checkpoint; train it again", *problems])
        )
    last = step
    # With early stopping a training continues after its best epoch.
    if best or recipe.patience:
        step = checkpoint.best(checkpoints, step)
    program = program_of(recipe, len(classes))
    # The optimiser's state and, with an average, the last step's weights are not needed.
    names = ("average" if recipe.average else "params", STATISTICS)
    parts = program.abstract_state().trees()
    wanted = {name: parts[name] for name in names if name in parts}
    trees, _ = checkpoint.load(checkpoints / f"{step:08d}", wanted)
    weights = merge_statistics(trees[names[0]], trees.get(STATISTICS, NOTHING))
    # The calibration was measured on the weights that the training ended with, and only for them.
    is_calibrated = recipe == trained and (step == last or recipe.patience)
    measured = calibration.read(Path(directory)) if is_calibrated else UNCALIBRATED
    return Classifier(recipe, classes, program, weights, measured)
