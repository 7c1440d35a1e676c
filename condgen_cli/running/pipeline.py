"""Batching, and prefetching in threads: in order, a bounded number of steps ahead of the consumer."""

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
    """Lists of values of total weight at most ``size``: waits for one value, then takes those that have arrived.

    A separate thread reads ``values``, at most a weight of ``size`` ahead.

    Args:
        values: the values.
        size: largest total weight of a list.
        weigh: returns the weight of a value, 1 to ``size``.
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

    # a daemon, since it may block on a pipe forever
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
    """Batches of values of similar size, with the values' places in the original order.

    Args:
        windows: lists of values; each list is sorted separately.
        size: number of values in a batch; the last of each window may be smaller.
        key: sort key, largest first; None: keep the order.
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
    """Values in the order of their places 0, 1, 2, …, each as soon as those before it have arrived."""
    waiting: dict[int, T] = {}
    following = 0
    for place, value in placed:
        waiting[place] = value
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def prefetch(function: Callable[[T], R], values: Iterable[T], *, ahead: int) -> Iterator[R]:
    """``map(function, values)``, computed in threads ahead of the consumer.

    A separate thread reads ``values``, and ``ahead`` threads apply ``function``. At most ``ahead`` values are read beyond the
    one that the consumer works on. An exception of ``values`` or ``function`` is raised in place of its result.
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
                # threads don't inherit context variables, which hold the settings
                futures.put(pool.submit(contextvars.copy_context().run, function, value))
        except BaseException as error:
            failed: Future[R] = Future()
            failed.set_exception(error)
            futures.put(failed)
        futures.put(None)

    # a daemon, since it may block on a pipe forever
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
    """Marks the end of the values."""


_END = _End()
