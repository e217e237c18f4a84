"""The training of a system, whole epochs in one compiled call, and its run's folder."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Int32

from chifoumi_jax.errors import RecipeError
from chifoumi_jax.files import first_free, write_json
from chifoumi_jax.systems import small
from chifoumi_jax.training import checkpoint, run
from chifoumi_jax.training.display import Display, duration
from chifoumi_jax.training.interrupt import StopRequest, stop_requests
from chifoumi_jax.training.progress import DivergedError, Stopped

if TYPE_CHECKING:
    from chifoumi_jax.systems.system import Data, Figure, State, System

FORMAT_VERSION = 1
CONFIG = "system.json"
_OWN_WORDS = ("epoch", "seconds")


@dataclasses.dataclass(frozen=True)
class Compared:
    """One of the study's figures and the value that a run reached.

    Attributes:
        study: The study's figure.
        ours: The run's value, in the same unit.
    """

    study: Figure
    ours: float


@dataclasses.dataclass(frozen=True)
class SystemRun:
    """A training of a system, finished or not.

    Attributes:
        directory: Its folder.
        history: A mapping for each epoch: "epoch", "loss" as the study printed it, "seconds".
        figures: The study's figures beside this run's; empty before the end of the training.
    """

    directory: Path
    history: Sequence[Mapping[str, float]]
    figures: Sequence[Compared]

    def model(self) -> nnx.Module:
        """The model with the weights of the newest checkpoint.

        Raises:
            CheckpointError: If no checkpoint is intact.
        """
        graph, state = _blank(read_system(self.directory)[0])
        state, _ = _restore(self.directory, state, Display())
        return _merged(graph, state)


def fit(
    system: System,
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
    """Train a system as the study did, in a new folder under `runs`.

    Args:
        system: The system.
        data: A folder of digits, for systems that are trained on digits; drawn digits if None.
        epochs: Number of epochs; the study's if None.
        seed: Seed of the initial weights, of the order of the examples and of the noise.
        initial: Weights to begin with, as `System.load_original` takes them.
        limit: Number of training examples to use; all if None.
        variant: Name of the architecture; the system's default if None.
        runs: The folder that holds the runs.
        quiet: Print nothing but warnings.

    Raises:
        UserError: If an option is wrong, or the data or the weights cannot be read.
        DivergedError: If the loss is no longer finite.
        Stopped: If the user pressed Ctrl-C; the run is saved.
    """
    system = system.of(variant)
    count = system.epochs if epochs is None else epochs
    if count < 1:
        raise RecipeError(f"--epochs must be at least 1, not {count}")
    if limit is not None and limit < 1:
        raise RecipeError(f"--limit must be at least 1, not {limit}")
    display = Display(quiet=quiet)
    model = system.build(rngs=nnx.Rngs(seed))
    if initial is not None:
        system.load_original(model, initial)
    examples = system.data(data).first(limit)
    with stop_requests() as stop:
        Path(runs).mkdir(parents=True, exist_ok=True)
        folders = (Path(runs) / f"{system.name}-{n}" for n in itertools.count(1))
        directory = first_free(folders, Path.mkdir)
        write_json(
            directory / CONFIG,
            {
                "format": FORMAT_VERSION,
                "system": system.name,
                "variant": system.variant,
                "epochs": count,
                "seed": seed,
                "initial": initial is not None,
                "limit": limit,
                "data": None if data is None else str(Path(data).absolute()),
                "examples": _fingerprint(examples),
                "versions": run.versions(),
            },
        )
        graph, state = system.state(model)
        return _train(system, graph, state, examples, directory, [], display, stop)


def resume(directory: str | Path, *, epochs: int | None = None, quiet: bool = False) -> SystemRun:
    """Continue a run from its newest intact checkpoint, as if it had never stopped.

    Args:
        directory: The run's folder.
        epochs: New total number of epochs; that of the run if None.
        quiet: Print nothing but warnings.

    Raises:
        RunError: If the folder is not a system's run, is in use, or its data have changed.
        CheckpointError: If no checkpoint is intact.
        Stopped: If the user pressed Ctrl-C; the run is saved.
    """
    directory, display = Path(directory), Display(quiet=quiet)
    system, config = read_system(directory)
    if epochs is not None:
        config["epochs"] = epochs
    examples = system.data(config["data"]).first(config["limit"])
    if _fingerprint(examples) != config["examples"]:
        raise run.RunError(
            f"the data of {directory} have changed since it started; restore them, or start again"
        )
    graph, state = _blank(system)
    with stop_requests() as stop:
        state, progress = _restore(directory, state, display)
        history = progress["history"]
        if len(history) > config["epochs"]:
            raise RecipeError(
                f"{directory} has {len(history)} epochs already: --epochs must be at least that"
            )
        if epochs is not None:
            write_json(directory / CONFIG, config)
        return _train(system, graph, state, examples, directory, history, display, stop)


def read(directory: str | Path) -> SystemRun:
    """The run in a folder, finished or not.

    Raises:
        RunError: If the folder is not a system's run.
    """
    directory = Path(directory)
    system, _ = read_system(directory)
    history = run.read_metrics(directory)
    figures: list[Compared] = []
    results = directory / "results.json"
    if results.exists():
        values = json.loads(results.read_bytes())["ours"]
        figures = [Compared(f, v) for f, v in zip(system.figures, values, strict=True)]
    return SystemRun(directory, history, figures)


def read_system(directory: str | Path) -> tuple[System, dict[str, Any]]:
    """The system of a run's folder, and the run's settings.

    Raises:
        RunError: If the folder is not a system's run.
    """
    config = _read_config(Path(directory))
    return small(config["system"]).of(config["variant"]), config


def newest_seconds(label: str, runs: str | Path) -> float | None:
    """How long the newest whole training of a system took, among the runs in a folder.

    Args:
        label: The system's label.
        runs: The folder; it need not exist.
    """
    finished = sorted(Path(runs).glob("*/results.json"), key=lambda path: path.stat().st_mtime)
    for results in reversed(finished):
        try:
            system, config = read_system(results.parent)
        except run.RunError:
            continue
        whole = config["limit"] is None and config["epochs"] >= system.epochs
        if whole and system.label == label:
            return float(json.loads(results.read_bytes())["seconds"])
    return None


def divide(
    orders: Sequence[np.ndarray], batch_size: int
) -> tuple[Int32[np.ndarray, "epochs steps batch"], Int32[np.ndarray, "epochs rest"], list[int]]:
    """The rows of each full batch, those of the smaller last one, and the sizes of all batches."""
    rows = np.stack(orders).astype(np.int32)
    full, rest = divmod(rows.shape[1], batch_size)
    cut = full * batch_size
    batches = rows[:, :cut].reshape(len(rows), full, batch_size)
    return batches, rows[:, cut:], [batch_size] * full + [rest] * bool(rest)


# Another run of the same system in this process is not compiled again.
@functools.lru_cache(maxsize=8)
def epochs_function(
    system: System, graph: nnx.GraphDef[Any]
) -> Callable[..., tuple[tuple[State, Any], Any]]:
    """The compiled training of several epochs.

    It takes the state, the examples, the rows of the batches as `divide` returns them, a key, and
    the number of steps so far. It returns the
    state and the number of steps after them, and the loss of each step `[epochs, steps]`.
    """

    def epochs(
        state: State,
        examples: Mapping[str, Any],
        rows: Any,
        rest: Any,
        key: Any,
        first_step: Any,
    ) -> tuple[tuple[State, Any], Any]:
        def take(carry: tuple[State, Any], chosen: Any) -> tuple[tuple[State, Any], Any]:
            state, number = carry
            batch = {name: values[chosen] for name, values in examples.items()}
            noise = system.draw(jax.random.fold_in(key, number), len(chosen))
            state, loss = system.step(graph, state, batch, noise)
            return (state, number + 1), loss

        def one(carry: tuple[State, Any], order: Any) -> tuple[tuple[State, Any], Any]:
            state, number = carry
            full, last = order
            carry = state._replace(carry=system.begin_epoch(state.carry)), number
            carry, losses = jax.lax.scan(take, carry, full)
            if last.size:
                carry, loss = take(carry, last)
                losses = jnp.append(losses, loss)
            return carry, losses

        return jax.lax.scan(one, (state, first_step), (rows, rest))

    return jax.jit(epochs, donate_argnums=0)


def _train(
    system: System,
    graph: nnx.GraphDef[Any],
    state: State,
    data: Data,
    directory: Path,
    history: list[dict[str, float]],
    display: Display,
    stop: StopRequest,
) -> SystemRun:
    config = _read_config(directory)
    total = config["epochs"]
    with run.locked(directory):
        take, key = epochs_function(system, graph), jax.random.key(config["seed"])
        examples = {name: jnp.asarray(values) for name, values in data.train.items()}
        orders = itertools.islice(system.orders(len(data), config["seed"]), total)
        # Each order may come from the one before, so those of finished epochs are made again.
        finished = itertools.islice(orders, len(history))
        step = np.int32(sum(-(-len(order) // system.batch_size) for order in finished))
        stop.deferred = True
        began = time.monotonic()
        with display.counting(f"Training {system.name}") as show:
            show(len(history), total)
            while chosen := list(itertools.islice(orders, system.epochs_per_call)):
                start = time.monotonic()
                rows, rest, sizes = divide(chosen, system.batch_size)
                (state, step), losses = take(state, examples, rows, rest, key, step)
                printed = [system.printed(epoch, sizes) for epoch in np.asarray(losses)]
                seconds = (time.monotonic() - start) / len(rows)
                for loss in printed:
                    history.append(
                        {"epoch": len(history) + 1, "loss": loss, "seconds": round(seconds, 6)}
                    )
                # Its time does not count, because the study's figures are those of training.
                model = _merged(graph, state)
                history[-1] |= system.evaluate(model, data)
                if not math.isfinite(printed[-1]):
                    raise DivergedError(
                        f"the training of {system.name} diverged: the loss is {printed[-1]} after "
                        f"epoch {len(history)}. Take another --seed"
                    )
                _save(directory, state, int(step), history)
                system.draw_epoch(model, data, len(history), directory)
                display.say(_line(history[-1], total))
                show(len(history), total)
                if stop.requested and len(history) < total:
                    raise Stopped(directory, command="reproduce")
        model = _merged(graph, state)
        ours = [float(value) for value in system.results(model, data, history)]
        system.draw_pictures(model, data, history, directory)
        write_json(
            directory / "results.json",
            {
                "study": [figure.printed for figure in system.figures],
                "ours": ours,
                "source": data.source,
                "seconds": sum(row["seconds"] for row in history),
            },
        )
        for figure, value in zip(system.figures, ours, strict=True):
            display.say(f"{figure.name}: {value:.4g} (study: {figure.printed})")
        display.say(f"{total:,} epochs in {duration(time.monotonic() - began)}. Run: {directory}")
    return read(directory)


def _line(row: Mapping[str, float], total: int) -> str:
    """An epoch in words: `epoch 3/15: loss 0.0011, test_loss 0.001, 12 s`."""
    values = [f"{name} {value:.4g}" for name, value in row.items() if name not in _OWN_WORDS]
    return f"epoch {row['epoch']}/{total}: {', '.join(values)}, {row['seconds']:.2g} s"


def _save(directory: Path, state: State, step: int, history: list[dict[str, float]]) -> None:
    folder = directory / "checkpoints"
    checkpoint.save(folder, step, _trees(state), {"best_step": None, "history": history})
    checkpoint.prune(folder, None)
    run.write_metrics(directory, history)


def _trees(state: State) -> dict[str, Any]:
    """The parts of the state that have arrays, in one tree; Orbax saves no bare arrays."""
    parts = state._asdict().items()
    return {"state": {name: tree for name, tree in parts if jax.tree.leaves(tree)}}


def _restore(directory: Path, blank: State, display: Display) -> tuple[State, dict[str, Any]]:
    step, problems = checkpoint.newest(directory / "checkpoints")
    for problem in problems:
        display.warn(f"Skipped a damaged checkpoint: {problem}.")
    if step is None:
        raise checkpoint.CheckpointError(
            f"{directory} has no intact checkpoint to resume from; start a new run"
        )
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), _trees(blank)
    )
    trees, progress = checkpoint.load(directory / "checkpoints" / f"{step:08d}", abstract)
    return blank._replace(**trees["state"]), progress


def _merged(graph: nnx.GraphDef[Any], state: State) -> nnx.Module:
    """The model in evaluation mode."""
    model: nnx.Module = nnx.merge(graph, state.params, state.statistics)
    model.eval()
    return model


def _blank(system: System) -> tuple[nnx.GraphDef[Any], State]:
    return system.state(system.build(rngs=nnx.Rngs(0)))


def _fingerprint(data: Data) -> str:
    digest = hashlib.sha256()
    for values in data.train.values():
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    try:
        config = json.loads(path.read_bytes())
        if config["format"] != FORMAT_VERSION:
            raise run.RunError(
                f"{path} has format {config['format']}; this version reads {FORMAT_VERSION}"
            )
        {config[name] for name in ("system", "variant", "epochs", "seed", "data", "examples")}
    except (FileNotFoundError, NotADirectoryError):
        raise run.RunError(
            f"{directory} is not a system's run: it has no {CONFIG}; check the path"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise run.RunError(f"{path} cannot be read: {error}; start a new run") from error
    # Runs of earlier versions have neither.
    return {"initial": False, "limit": None, **config}
