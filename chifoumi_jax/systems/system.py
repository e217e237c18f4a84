"""What a system of the study is: a model with its data, its loss and its training."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import jax
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from chifoumi_jax.errors import RecipeError
from chifoumi_jax.systems.weights import Weight, load


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number that the study printed.

    Attributes:
        name: What it is.
        printed: As the study printed it, with its unit.
    """

    name: str
    printed: str


class State(NamedTuple):
    """Everything that a step changes.

    Attributes:
        params: The trained parameters.
        statistics: Running statistics and other variables of the model.
        opt_state: The optimiser's state.
        carry: What the system itself keeps from step to step, such as a recurrent state.
    """

    params: Any
    statistics: Any
    opt_state: Any
    carry: Any


@dataclasses.dataclass(frozen=True)
class Data:
    """The examples of a system.

    Attributes:
        train: Named arrays whose first axis counts the examples.
        test: The same for the examples that are not trained on; empty if the study had none.
        source: Where they come from, for a person.
    """

    train: Mapping[str, np.ndarray]
    test: Mapping[str, np.ndarray]
    source: str

    def __len__(self) -> int:
        return len(next(iter(self.train.values())))

    def first(self, limit: int | None) -> Data:
        """The first `limit` training examples, and as large a share of the others; all if None."""
        if limit is None or limit >= len(self):
            return self
        kept = max(1, limit * len(next(iter(self.test.values()), ())) // len(self))
        train = {name: values[:limit] for name, values in self.train.items()}
        test = {name: values[:kept] for name, values in self.test.items()}
        return Data(train, test, f"the first {limit:,} of {self.source}")


class Gradients(NamedTuple):
    """What a batch gives beside its gradients.

    Attributes:
        losses: The minimised values by name; a system of several networks has several.
        printed: The loss as the study printed it.
        carry: The next `State.carry`.
        statistics: The next `State.statistics`.
    """

    losses: dict[str, Array]
    printed: Array
    carry: Any
    statistics: Any


class System(abc.ABC):
    """A system of the study.

    Attributes:
        name: Its name in `chifoumi reproduce` and in `systems.get`.
        title: One line that says what it is.
        framework: The original's framework, "Keras" or "PyTorch".
        figures: What the study printed.
        variants: Names of its architectures, the default first.
        variant: The one that this object builds and trains; `of` returns another's.
        has_original: Whether the study had this variant, so that there is an original of it.
        epochs: Number of epochs that the study trained.
        batch_size: Number of examples in a step.
        quick: Epochs, and the limit of training examples, of a quick training that shows the same.
        takes_digits: Whether `data` reads a folder of digits.
        epochs_per_call: Number of epochs that are trained between two updates of the progress.
        bounded_initial: Whether initial weights are drawn from an interval, as uniform ones are.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    framework: ClassVar[str]
    figures: Sequence[Figure]
    variants: ClassVar[Sequence[str]] = ("default",)
    epochs: int
    batch_size: int
    quick: tuple[int, int | None] = (2, 6_000)
    has_original: bool = True
    takes_digits: ClassVar[bool] = False
    epochs_per_call: ClassVar[int] = 1
    bounded_initial: ClassVar[bool] = True

    def __init__(self, variant: str | None = None) -> None:
        self.variant = self.check_variant(variant)

    def of(self, variant: str | None) -> Self:
        """The same system with another architecture; with this one if `variant` is None.

        Raises:
            RecipeError: If there is no such variant.
        """
        return self if variant in (None, self.variant) else type(self)(variant)

    def __eq__(self, other: object) -> bool:
        """Whether both are the same system and variant."""
        return type(other) is type(self) and other.variant == self.variant

    def __hash__(self) -> int:
        """Equal systems have equal hashes, so that compiled functions are found again."""
        return hash((type(self), self.variant))

    @property
    def label(self) -> str:
        """The name, and the variant where the system has several: `sine-denoiser-rnn`."""
        return f"{self.name}-{self.variant}" if len(self.variants) > 1 else self.name

    def build(self, variant: str | None = None, *, rngs: nnx.Rngs) -> Any:
        """The untrained model, with the original's initial distributions.

        Args:
            variant: Name of the architecture; that of this object if None.
            rngs: The stream `params` draws the weights.

        Returns:
            A Flax NNX module in evaluation mode.

        Raises:
            RecipeError: If there is no such variant.
        """
        model = self.of(variant).create(rngs)
        model.eval()
        return model

    @abc.abstractmethod
    def create(self, rngs: nnx.Rngs) -> nnx.Module:
        """The untrained model of this variant."""

    @abc.abstractmethod
    def data(self, source: str | Path | None = None) -> Data:
        """The study's examples; `source` is a folder, for systems whose data are not made."""

    @abc.abstractmethod
    def optimizer(self) -> optax.GradientTransformation:
        """The study's optimiser."""

    @abc.abstractmethod
    def orders(self, examples: int, seed: int) -> Iterator[Int[np.ndarray, " shown"]]:
        """For each epoch the indices of its examples in the study's order, endlessly.

        All epochs have the same number of indices, which need not be the number of examples.
        """

    @abc.abstractmethod
    def loss(
        self, model: nnx.Module, batch: Mapping[str, Array], carry: Any, noise: Any
    ) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Any]]:
        """The loss of a batch.

        Returns:
            The value to minimise; then the value that the study printed, and the next `carry`.
        """

    @abc.abstractmethod
    def outputs(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The layers' outputs by name, in order; the model's own is "output"."""

    def batch_gradients(self, model: nnx.Module, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Gradients by a batch's examples that the system itself uses, by the examples' names."""
        del model, batch
        return {}

    def draw(self, key: Key[Array, ""], batch_size: int) -> Any:
        """All random numbers of a step; `()` if it has none."""
        del key, batch_size
        return ()

    def initial_carry(self) -> Any:
        """What `State.carry` is before the first step."""
        return ()

    def begin_epoch(self, carry: Any) -> Any:
        """What `State.carry` is at the start of an epoch; by default the initial one."""
        del carry
        return self.initial_carry()

    def printed(self, losses: Float[np.ndarray, " steps"], sizes: Sequence[int]) -> float:
        """An epoch's loss as the study printed it; by default the mean over its examples."""
        return float(np.average(losses, weights=sizes))

    @abc.abstractmethod
    def results(self, model: nnx.Module, data: Data, history: Sequence[Mapping[str, float]]) -> Any:
        """The run's values of `figures`, in their order."""

    @abc.abstractmethod
    def draw_pictures(
        self, model: nnx.Module, data: Data, history: Sequence[Mapping[str, float]], folder: Path
    ) -> None:
        """Write the pictures that show what the model has learnt."""

    def draw_epoch(self, model: nnx.Module, data: Data, epoch: int, folder: Path) -> None:
        """Write the pictures of a training under way; `epoch` counts from 1."""
        del model, data, epoch, folder

    def evaluate(self, model: nnx.Module, data: Data) -> dict[str, float]:
        """What the study printed after each epoch besides the loss; columns of `metrics.csv`."""
        del model, data
        return {}

    def state(self, model: nnx.Module) -> tuple[nnx.GraphDef[Any], State]:
        """The state before the first step of a model, and its structure in training mode."""
        model.train()
        split: Any = nnx.split(model, nnx.Param, ...)
        model.eval()
        graph, params, statistics = split
        return graph, State(params, statistics, self.optimizer().init(params), self.initial_carry())

    def gradients(
        self, graph: nnx.GraphDef[Any], state: State, batch: Mapping[str, Array], noise: Any
    ) -> tuple[Any, Gradients]:
        """The gradients of a batch, by the parameters of `state`, and what comes with them."""

        def loss(params: Any) -> Any:
            # A copy, because running statistics are set while the gradient is taken.
            model = nnx.merge(graph, params, state.statistics, copy=True)
            value, (printed, carry) = self.loss(model, batch, state.carry, noise)
            statistics = nnx.state(model, nnx.Not(nnx.Param))
            return value, Gradients({"loss": value}, printed, carry, statistics)

        return jax.grad(loss, has_aux=True)(state.params)

    def step(
        self, graph: nnx.GraphDef[Any], state: State, batch: Mapping[str, Array], noise: Any
    ) -> tuple[State, Float[Array, ""]]:
        """One update; a pure function.

        Args:
            graph: The model's structure, from `state`.
            state: The state before the step.
            batch: The examples.
            noise: All random numbers of the step, as `draw` returns them.

        Returns:
            The state after the step, and the loss as the study printed it.
        """
        gradients, found = self.gradients(graph, state, batch, noise)
        updates, opt_state = self.optimizer().update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(params, found.statistics, opt_state, found.carry), found.printed

    def check_variant(self, variant: str | None) -> str:
        """The variant's name, or the default's if None.

        Raises:
            RecipeError: If there is no such variant.
        """
        if variant is None:
            return self.variants[0]
        if variant not in self.variants:
            raise RecipeError(
                f"{self.name} has no variant {variant}; choose one of {', '.join(self.variants)}"
            )
        return variant

    def refuse_source(self, source: str | Path | None) -> None:
        """Refuse a folder for data that are made.

        Raises:
            RecipeError: If there is one.
        """
        if source is not None:
            raise RecipeError(f"the data of {self.name} are made, not read; leave out --data")

    @property
    def params(self) -> int:
        """Number of weights of this variant, running statistics included, as Keras counts."""
        model = nnx.eval_shape(lambda: self.build(rngs=nnx.Rngs(0)))
        return sum(weight.variable.get_value().size for weight in self.weights(model).values())

    def load_original(self, model: nnx.Module, original: Any) -> None:
        """Copy the weights of the original into `model`, bit for bit.

        Args:
            model: A model of `build`.
            original: A PyTorch state_dict, a Keras model, or a mapping of names to arrays.

        Raises:
            WeightsError: If a name or a shape is not the expected one.
        """
        load(original, self.weights(model))

    def to_original(self, model: nnx.Module) -> dict[str, np.ndarray]:
        """The weights by the original's names and in its layout; the inverse of `load_original`."""
        return {name: weight.write() for name, weight in self.weights(model).items()}

    @abc.abstractmethod
    def weights(self, model: nnx.Module) -> Mapping[str, Weight]:
        """The model's weights by the original's names, in the original's order."""

    def fit(self, **options: Any) -> Any:
        """Train as the study did; see `chifoumi_jax.systems.loop.fit`."""
        from chifoumi_jax.systems.loop import fit

        return fit(self, **options)


def shuffled_in_place(examples: int, seed: int) -> Iterator[Int[np.ndarray, " examples"]]:
    """Keras' order: one array of indices that is shuffled at the start of each epoch.

    Each epoch shuffles the order of the one before. Source: Keras 2.2.4, `fit_loop`.
    """
    rng, order = np.random.RandomState(seed), np.arange(examples)
    while True:
        rng.shuffle(order)
        yield order.copy()


def permutations(examples: int, seed: int) -> Iterator[Int[np.ndarray, " examples"]]:
    """A new permutation for each epoch, as PyTorch's loader draws it."""
    rng = np.random.RandomState(seed)
    while True:
        yield rng.permutation(examples)
