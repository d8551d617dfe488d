"""Long calls that cannot be taken apart, such as those of scikit-learn: made in a thread while the worker goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")

_STEP_S = 0.1
_ONE = threading.Lock()
"""What was given up runs to its end before the next begins: numba, in UMAP, ends a process that is in it twice."""


def beside(work: Callable[[], T]) -> Generator[None, None, T]:
    """Do `work` in a thread, with a step every 0.1 s until it is done; return what it does, raise what it raises.

    It computes on the host only: whatever lies on a device may be parked between two steps. It reads no files: one
    that does not answer would not be noticed, as the steps go on. If the generator is closed, its result is dropped.
    """
    future: Future[T] = Future()
    # No daemon: a process that ends in the middle of compiled code may abort, so it ends after the work.
    threading.Thread(target=_do, args=(work, future), name="beside").start()
    try:
        while not wait([future], _STEP_S).done:
            yield
    finally:
        future.cancel()
    return future.result()


def _do(work: Callable[[], T], future: Future[T]) -> None:
    """Fill a future, unless it was cancelled before its turn."""
    with _ONE:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where the result is asked for
            future.set_exception(error)
