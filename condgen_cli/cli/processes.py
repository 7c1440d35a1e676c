"""``condgen train --processes N``: the same command in several processes, which train one model together.

Each worker gets the environment variables that ``torchrun`` sets. The output of the first worker is shown; that of another
only if it alone has failed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from condgen_cli.errors import CondgenError

__all__ = ["run_processes"]

PATIENCE = 60.0
"""Seconds that the other processes have to end by themselves after one has failed."""


def run_processes(arguments: Sequence[str], count: int) -> int:
    """Run a command line of condgen in ``count`` processes and wait for them.

    SIGINT is forwarded to all of them, so that they write a checkpoint. None outlives this process.

    Returns:
        The exit code of the first process, which has printed its result or error.
    Raises:
        CondgenError: if only another process has failed.
    """
    context = get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, _ignore_interrupts():
        port = _free_port()
        workers: list[BaseProcess] = [
            context.Process(target=_work, args=(list(arguments), rank, count, port, folder)) for rank in range(count)
        ]
        for worker in workers:
            worker.start()
        with _forward_interrupts(workers):
            _wait(workers)
        codes = [worker.exitcode or 0 for worker in workers]
        failed = next((rank for rank, code in enumerate(codes) if code), 0)
        if codes[0] > 0 or not codes[failed]:
            return codes[0]
        raise _failure(failed, codes[failed], Path(folder))


def _failure(rank: int, code: int, folder: Path) -> CondgenError:
    """The error of a process other than the first, from its exit code and its output."""
    printed = folder / str(rank)
    lines = printed.read_text(encoding="utf-8", errors="replace").splitlines() if printed.exists() else []
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if not errors:
        ending = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return CondgenError(f"process {rank + 1} {ending}", "--resume continues from the last checkpoint")
    failure = CondgenError(f"process {rank + 1}: {errors[-1]}")
    failure.exit_code = code
    return failure


def _wait(workers: Sequence[BaseProcess]) -> None:
    """Wait until all processes have ended; end those that hang after the failure of another."""
    deadline: float | None = None
    while alive := [worker for worker in workers if worker.is_alive()]:
        connection.wait([worker.sentinel for worker in alive], timeout=1.0)
        if deadline is None and any(worker.exitcode for worker in workers):
            deadline = time.monotonic() + PATIENCE
        if deadline is not None and time.monotonic() > deadline:
            for worker in alive:
                (worker.terminate if time.monotonic() < deadline + 5 else worker.kill)()


def _work(arguments: list[str], rank: int, count: int, port: int, folder: str) -> None:
    """Run one worker, in a session of its own, so that only its parent interrupts it."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    if rank:
        silence = os.open(Path(folder) / str(rank), os.O_WRONLY | os.O_CREAT)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
    from condgen_cli.cli.app import run

    sys.exit(run(arguments))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGINT)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Ignore SIGINT within the block: a worker that has not set its handler yet would print a traceback."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _forward_interrupts(workers: Sequence[BaseProcess]) -> Iterator[None]:
    def pass_on(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            if worker.pid is not None and worker.is_alive():
                os.kill(worker.pid, signal.SIGINT)

    previous = signal.signal(signal.SIGINT, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
