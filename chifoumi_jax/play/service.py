"""What all requests share."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from chifoumi_jax.data.problems import ImageProblem
from chifoumi_jax.play.game.commitment import Rounds
from chifoumi_jax.play.http.body import Slots
from chifoumi_jax.play.http.errors import Refusal
from chifoumi_jax.play.http.limits import Limits
from chifoumi_jax.play.models import Models
from chifoumi_jax.play.reading import Reading, read
from chifoumi_jax.play.teach.classes import Lesson
from chifoumi_jax.play.teach.jobs import Apprentice
from chifoumi_jax.play.worker import Worker
from chifoumi_jax.prediction.classifier import Classifier

_T = TypeVar("_T")


class Service:
    """The game's and the models' side of the server.

    Attributes:
        limits: How much is taken from anyone.
        models: Who is asked.
        worker: Who asks.
        slots: For pictures on their way.
        rounds: That have begun.
        rng: Of the opponent.
        lesson: What is being taught.
        apprentice: Who learns it.
    """

    def __init__(self, models: Models, limits: Limits, seed: int | None, runs: Path):
        self.limits = limits
        self.models = models
        self.worker = Worker(limits.batch)
        self.slots = Slots(limits.waiting)
        self.rounds = Rounds(limits.rounds)
        self.rng = random.SystemRandom() if seed is None else random.Random(seed)
        self.lesson = Lesson(limits)
        self.apprentice = Apprentice(models, self.worker, runs)

    def close(self) -> None:
        """Stop what goes on in other threads and processes."""
        self.apprentice.close()
        self.worker.close()

    async def ask(
        self, classifier: Classifier, pixels: Callable[[], UInt8[np.ndarray, "..."]]
    ) -> Reading:
        """A classifier's reading of a picture.

        Raises:
            Refusal: If it is no picture that can be read.
        """
        try:
            row = await asyncio.wrap_future(self.worker.ask(classifier, pixels))
        except ImageProblem as problem:
            raise unreadable(problem) from None
        return read(classifier, row)

    async def run(self, call: Callable[[], _T]) -> _T:
        """Have something done in the worker's thread.

        Raises:
            Refusal: If it meets no picture that can be read.
        """
        try:
            return await asyncio.wrap_future(self.worker.run(call))
        except ImageProblem as problem:
            raise unreadable(problem) from None


def unreadable(problem: ImageProblem) -> Refusal:
    """What a picture's problem is to a client."""
    return Refusal(422, problem.kind.value, str(problem))
