"""State and services that all requests share."""

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
from chifoumi_jax.play.reading import Reading, apply_threshold
from chifoumi_jax.play.teach.classes import ClassStore
from chifoumi_jax.play.teach.jobs import JobRunner
from chifoumi_jax.play.worker import Worker
from chifoumi_jax.prediction.classifier import Classifier

_T = TypeVar("_T")


class Service:
    """The server without HTTP: the game, the models and the teaching.

    Attributes:
        limits: Limits on requests and on stored data.
        models: The available models.
        worker: The thread that runs the models.
        slots: Slots for concurrent requests that carry a picture.
        rounds: The open rounds.
        rng: The opponent's random generator.
        classes: The classes that are being taught, with their pictures.
        jobs: Trains a model on these classes.
    """

    def __init__(self, models: Models, limits: Limits, seed: int | None, runs: Path):
        self.limits = limits
        self.models = models
        self.worker = Worker(limits.batch)
        self.slots = Slots(limits.picture_requests)
        self.rounds = Rounds(limits.rounds)
        self.rng = random.SystemRandom() if seed is None else random.Random(seed)
        self.classes = ClassStore(limits)
        self.jobs = JobRunner(models, self.worker, runs)

    def close(self) -> None:
        """Stop all other threads and processes."""
        self.jobs.close()
        self.worker.close()

    async def predict(
        self, classifier: Classifier, pixels: Callable[[], UInt8[np.ndarray, "..."]]
    ) -> Reading:
        """A classifier's prediction for a picture.

        Args:
            classifier: The classifier.
            pixels: Decodes the picture; called in the worker's thread.

        Raises:
            Refusal: If the picture cannot be read.
        """
        try:
            row = await asyncio.wrap_future(self.worker.predict(classifier, pixels))
        except ImageProblem as problem:
            raise _picture_refusal(problem) from None
        return apply_threshold(classifier, row)

    async def run(self, call: Callable[[], _T]) -> _T:
        """Run a call in the worker's thread.

        Raises:
            Refusal: If the call reads a picture that cannot be read.
        """
        try:
            return await asyncio.wrap_future(self.worker.run(call))
        except ImageProblem as problem:
            raise _picture_refusal(problem) from None


def _picture_refusal(problem: ImageProblem) -> Refusal:
    return Refusal(422, problem.kind.value, str(problem))
