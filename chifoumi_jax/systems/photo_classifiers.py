"""The study's two photo classifiers, as systems beside the small ones.

`chifoumi_jax.fit` trains them with every setting of a recipe; here they train as the study did.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flax import nnx

from chifoumi_jax.convert import from_keras, from_torch
from chifoumi_jax.errors import RecipeError
from chifoumi_jax.models import CNN, MLP, count_params
from chifoumi_jax.recipes import RECIPES
from chifoumi_jax.systems.loop import Compared, SystemRun
from chifoumi_jax.systems.system import Figure


@dataclasses.dataclass(frozen=True)
class PhotoClassifier:
    """A photo classifier of the study.

    Attributes:
        name: Its name in `chifoumi reproduce` and in `systems.get`.
        title: One line that says what it is.
        framework: The original's framework, "Keras" or "PyTorch".
        recipe: Name of the study's recipe.
        figures: What the study printed.
        variants: Names of its architectures.
        make: Builds the untrained model.
        convert: Reads the original's weights into a model.
        quick: Epochs, and the limit of training examples, of a quick training.
    """

    name: str
    title: str
    framework: str
    recipe: str
    figures: Sequence[Figure]
    make: Callable[..., Any]
    convert: Callable[[Any], Any]
    quick: tuple[int, None]
    variants: Sequence[str] = ("default",)
    variant: str = "default"
    takes_digits: bool = False

    @property
    def label(self) -> str:
        """The name; there is one variant."""
        return self.name

    @property
    def epochs(self) -> int:
        """Number of epochs that the study trained."""
        return RECIPES[self.recipe].epochs

    @property
    def params(self) -> int:
        """Number of trained parameters at the study's image size."""
        return count_params(nnx.eval_shape(lambda: self.make(rngs=nnx.Rngs(0))))

    def of(self, variant: str | None) -> PhotoClassifier:
        """The system itself, which has no other variant.

        Raises:
            RecipeError: If another variant is named.
        """
        if variant not in (None, *self.variants):
            raise RecipeError(f"{self.name} has no variant {variant}; leave out --variant")
        return self

    def build(self, variant: str | None = None, *, rngs: nnx.Rngs) -> Any:
        """The untrained model at the study's image size; it returns logits."""
        self.of(variant)
        return self.make(rngs=rngs)

    def load_original(self, model: Any, original: Any) -> None:
        """Copy the weights of the original, a Keras model or a PyTorch module, into `model`.

        Raises:
            WeightsError: If they are those of another model.
        """
        nnx.update(model, nnx.state(self.convert(original), nnx.Param))

    def fit(
        self,
        *,
        data: str | Path | None = None,
        epochs: int | None = None,
        seed: int = 0,
        initial: Any = None,
        limit: int | None = None,
        variant: str | None = None,
        runs: str | Path = "runs",
        quiet: bool = False,
    ) -> SystemRun:
        """Train by the study's recipe, on the built-in drawn hands or on a folder of photos.

        Args:
            data: Folder of photos; drawn hands if None.
            epochs: Number of epochs; the study's if None.
            seed: Seed of the weights, the order and the dropout.
            initial: Must be None: a photo classifier's training draws its weights.
            limit: Must be None: it uses all photos.
            variant: Must be None.
            runs: The folder that holds the runs.
            quiet: Print nothing but warnings.

        Raises:
            UserError: If an option is wrong, or the photos cannot be read.
            Stopped: If the user pressed Ctrl-C; the run is saved.
        """
        from chifoumi_jax.training.fit import fit

        self.of(variant)
        if initial is not None or limit is not None:
            raise RecipeError(f"{self.name} takes neither initial weights nor a limit of photos")
        changes: dict[str, Any] = {"seed": seed, "runs": str(runs)}
        if data is not None:
            changes["data"] = str(data)
        if epochs is not None:
            changes["epochs"] = epochs
        run = fit(RECIPES[self.recipe].replace(**changes), quiet=quiet)
        history: list[Mapping[str, float]] = list(run.history)
        return SystemRun(
            run.directory, history, [Compared(self.figures[0], 100 * run.test_accuracy)]
        )


CNN_SYSTEM = PhotoClassifier(
    name="cnn",
    title="a convolutional network tells rock, paper and scissors",
    framework="Keras",
    recipe="study-cnn",
    figures=(Figure("test accuracy in per cent", "94.23"),),
    make=CNN,
    convert=from_keras,
    quick=(1, None),
)
MLP_SYSTEM = PhotoClassifier(
    name="mlp",
    title="a perceptron tells rock, paper and scissors",
    framework="PyTorch",
    recipe="study-mlp",
    figures=(Figure("test accuracy in per cent", "34.62"),),
    make=MLP,
    convert=from_torch,
    quick=(20, None),
)
