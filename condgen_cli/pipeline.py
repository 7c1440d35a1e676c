"""Work done ahead of its consumer: in threads, in order, a bounded number of steps ahead."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["batched", "prefetch"]

T = TypeVar("T")
R = TypeVar("R")


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` values; the last may be shorter."""
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch


def prefetch(function: Callable[[T], R], values: Iterable[T], *, ahead: int) -> Iterator[R]:
    """``map(function, values)``, computed while the consumer does something else.

    A thread of its own reads ``values`` and ``ahead`` threads apply ``function``. At most ``ahead`` values are read beyond the
    one that the consumer works on. An exception, of ``values`` or of ``function``, is raised where its result would have been.
    """
    futures: SimpleQueue[Future[R] | None] = SimpleQueue()
    free, stopped = threading.Semaphore(ahead), threading.Event()
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="condgen")

    def feed() -> None:
        iterator = iter(values)
        try:
            while free.acquire() and not stopped.is_set():
                value = next(iterator, _END)
                if isinstance(value, _End):
                    break
                # a thread starts without the settings of the one that made it
                futures.put(pool.submit(contextvars.copy_context().run, function, value))
        except BaseException as error:
            failed: Future[R] = Future()
            failed.set_exception(error)
            futures.put(failed)
        futures.put(None)

    # a daemon: it may hang in reading a pipe that nobody writes to
    threading.Thread(target=contextvars.copy_context().run, args=(feed,), daemon=True).start()
    try:
        while (future := futures.get()) is not None:
            yield future.result()
            free.release()
    finally:
        stopped.set()
        free.release()
        pool.shutdown(wait=False, cancel_futures=True)


class _End:
    """What no iterable of a caller yields."""


_END = _End()
