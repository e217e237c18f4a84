"""One thread that runs the models; it batches the pictures that are waiting."""

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


class _Request(NamedTuple):
    """A picture for a classifier; `read` decodes its untrusted bytes in the thread."""

    classifier: Classifier
    read: Callable[[], UInt8[np.ndarray, ...]]
    future: Future[Float32[np.ndarray, " classes"]]


class _Task(NamedTuple):
    """Any other call; it is not batched."""

    call: Callable[[], None]


class Worker:
    """The thread runs from construction until `close`; the methods are thread-safe."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._waiting: queue.SimpleQueue[_Request | _Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="classifier", daemon=True)
        self._thread.start()

    def predict(
        self, classifier: Classifier, read: Callable[[], UInt8[np.ndarray, ...]]
    ) -> Future[Float32[np.ndarray, " classes"]]:
        """Class probabilities of one picture.

        Args:
            classifier: The classifier.
            read: Returns the picture's pixels; the future raises what `read` raises.
        """
        future: Future[Float32[np.ndarray, " classes"]] = Future()
        self._waiting.put(_Request(classifier, read, future))
        return future

    def run(self, call: Callable[[], _T]) -> Future[_T]:
        """Run any other call in the thread."""
        future: Future[_T] = Future()
        self._waiting.put(_Task(lambda: _resolve(future, call)))
        return future

    def warm_up(self, classifier: Classifier, largest: int | None = None) -> Future[None]:
        """Compile a classifier for the batch sizes that occur, up to `largest`."""
        limit = self._batch_size if largest is None else largest

        def compile_all() -> None:
            size = 1
            while size < 2 * limit:
                pixels = np.zeros((size, *classifier.recipe.input_shape), np.uint8)
                classifier.probabilities(pixels)
                size *= 2

        return self.run(compile_all)

    def close(self) -> None:
        """Finish what is waiting, and end the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        item: _Request | _Task | None
        item = self._waiting.get()
        while item is not None:
            if isinstance(item, _Task):
                item.call()
                item = self._waiting.get()
                continue
            batch = [item]
            item = self._fill(batch)
            _predict_batch(batch)
            # The batch must not stay in memory while the thread waits.
            del batch
            if item is _NO_ITEM:
                item = self._waiting.get()

    def _fill(self, batch: list[_Request]) -> _Request | _Task | None:
        """Add waiting requests for the same classifier to the batch.

        Returns:
            The next item if it cannot join the batch; `_NO_ITEM` if none was taken.
        """
        while len(batch) < self._batch_size:
            try:
                found = self._waiting.get_nowait()
            except queue.Empty:
                return _NO_ITEM
            if not isinstance(found, _Request) or found.classifier is not batch[0].classifier:
                return found
            batch.append(found)
        return _NO_ITEM


_NO_ITEM = _Task(lambda: None)


def _predict_batch(batch: list[_Request]) -> None:
    requests, pixels = [], []
    for request in batch:
        if not request.future.set_running_or_notify_cancel():
            continue
        try:
            pixels.append(request.read())
        except Exception as error:  # noqa: BLE001 - the future's caller gets it
            request.future.set_exception(error)
        else:
            requests.append(request)
    if not requests:
        return
    try:
        rows = requests[0].classifier.probabilities(np.stack(pixels))
    except Exception as error:  # noqa: BLE001 - the futures' callers get it
        for request in requests:
            request.future.set_exception(error)
        return
    for request, row in zip(requests, rows, strict=True):
        request.future.set_result(row)


def _resolve(future: Future[_T], call: Callable[[], _T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - the future's caller gets it
        future.set_exception(error)
