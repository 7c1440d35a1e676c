"""Batches, and work done ahead of its consumer: in threads, in order, a bounded number of steps ahead."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

__all__ = ["batch_available", "batched", "prefetch", "restore_order", "sorted_batches"]

T = TypeVar("T")
R = TypeVar("R")


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` values; the last may be shorter."""
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch


def batch_available(values: Iterable[T], size: int, weigh: Callable[[T], int] = lambda value: 1) -> Iterator[list[T]]:
    """Lists of values that weigh at most ``size`` together: waits for one, then takes those that have come by now.

    A thread of its own reads ``values``, at most ``size`` beyond those that were given.

    Args:
        weigh: what a value weighs, 1 to ``size``.
    """
    arrived: SimpleQueue[list[T]] = SimpleQueue()  # one value each; an empty list ends it
    free, stopped = threading.Semaphore(size), threading.Event()
    failed: list[BaseException] = []

    def feed() -> None:
        try:
            for value in values:
                arrived.put([value])
                for _ in range(weigh(value)):
                    if not free.acquire() or stopped.is_set():
                        return
        except BaseException as error:
            failed.append(error)
        arrived.put([])

    # a daemon: it may hang in reading a pipe that nobody writes to
    threading.Thread(target=contextvars.copy_context().run, args=(feed,), daemon=True).start()
    try:
        last = False
        while not last and (batch := arrived.get()):
            weight = weigh(batch[0])
            while weight < size and not last and not arrived.empty():
                more = arrived.get()
                batch += more
                weight += sum(map(weigh, more))
                last = not more
            free.release(weight)
            yield batch
        if failed:
            raise failed[0]
    finally:
        stopped.set()
        free.release()


def sorted_batches(
    windows: Iterable[list[T]], size: int, key: Callable[[T], int] | None
) -> Iterator[tuple[list[int], list[T]]]:
    """Batches of values that are alike, with the values' places in the whole.

    Args:
        windows: the values; those of one window are sorted among themselves.
        size: of a batch; the last of each window may be smaller.
        key: what to sort by, largest first; None keeps the order.
    """
    start = 0
    for window in windows:
        places = list(range(start, start + len(window)))
        if key is not None:
            sizes = [key(value) for value in window]
            places.sort(key=lambda place: -sizes[place - start])
        for batch in batched(places, size):
            yield batch, [window[place - start] for place in batch]
        start += len(window)


def restore_order(placed: Iterable[tuple[int, T]]) -> Iterator[T]:
    """Values in the order of their places 0, 1, 2, …, each as soon as those before it are there."""
    waiting: dict[int, T] = {}
    following = 0
    for place, value in placed:
        waiting[place] = value
        while following in waiting:
            yield waiting.pop(following)
            following += 1


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
