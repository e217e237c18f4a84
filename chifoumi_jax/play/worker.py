"""One thread that asks models, and asks together what waits together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float32, UInt8

from chifoumi_jax.prediction.classifier import Classifier

_T = TypeVar("_T")


class _Question(NamedTuple):
    """A picture for a model: its pixels are made in the thread, from bytes nobody has looked at."""

    classifier: Classifier
    read: Callable[[], UInt8[np.ndarray, ...]]
    answer: Future[Float32[np.ndarray, " classes"]]


class _Task(NamedTuple):
    """Anything else that the thread does, by itself."""

    call: Callable[[], None]


class Worker:
    """Runs from when it is made until it is closed; its methods are safe in threads."""

    def __init__(self, batch: int):
        self._batch = batch
        self._waiting: queue.SimpleQueue[_Question | _Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="classifier", daemon=True)
        self._thread.start()

    def ask(
        self, classifier: Classifier, read: Callable[[], UInt8[np.ndarray, ...]]
    ) -> Future[Float32[np.ndarray, " classes"]]:
        """Probabilities of one picture; `read` gives its pixels, or raises what the asker gets."""
        answer: Future[Float32[np.ndarray, " classes"]] = Future()
        self._waiting.put(_Question(classifier, read, answer))
        return answer

    def run(self, call: Callable[[], _T]) -> Future[_T]:
        """Have something else done in the thread."""
        answer: Future[_T] = Future()
        self._waiting.put(_Task(lambda: _settle(answer, call)))
        return answer

    def warm_up(self, classifier: Classifier, largest: int | None = None) -> Future[None]:
        """Compile a classifier for the sizes of batch that will be asked, up to `largest`."""
        limit = self._batch if largest is None else largest

        def compile_all() -> None:
            size = 1
            while size < 2 * limit:
                pixels = np.zeros((size, *classifier.recipe.input_shape), np.uint8)
                classifier.probabilities(pixels)
                size *= 2

        return self.run(compile_all)

    def close(self) -> None:
        """Answer what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        following: _Question | _Task | None
        following = self._waiting.get()
        while following is not None:
            if isinstance(following, _Task):
                following.call()
                following = self._waiting.get()
                continue
            together = [following]
            following = self._gather(together)
            _answer(together)
            # Nothing of a batch may live on while the thread waits.
            del together
            if following is _NOTHING:
                following = self._waiting.get()

    def _gather(self, together: list[_Question]) -> _Question | _Task | None:
        """Take what waits and can be asked with the first; gives what came and cannot."""
        while len(together) < self._batch:
            try:
                found = self._waiting.get_nowait()
            except queue.Empty:
                return _NOTHING
            if not isinstance(found, _Question) or found.classifier is not together[0].classifier:
                return found
            together.append(found)
        return _NOTHING


_NOTHING = _Task(lambda: None)


def _answer(together: list[_Question]) -> None:
    asked, pixels = [], []
    for question in together:
        if not question.answer.set_running_or_notify_cancel():
            continue
        try:
            pixels.append(question.read())
        except Exception as error:  # noqa: BLE001 - the asker gets it
            question.answer.set_exception(error)
        else:
            asked.append(question)
    if not asked:
        return
    try:
        rows = asked[0].classifier.probabilities(np.stack(pixels))
    except Exception as error:  # noqa: BLE001 - the askers get it
        for question in asked:
            question.answer.set_exception(error)
        return
    for question, row in zip(asked, rows, strict=True):
        question.answer.set_result(row)


def _settle(answer: Future[_T], call: Callable[[], _T]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        answer.set_result(call())
    except BaseException as error:  # noqa: BLE001 - the asker gets it
        answer.set_exception(error)
