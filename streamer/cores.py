"""How the cores are shared by the stages of a stream, which all work at the same time."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from threadpoolctl import threadpool_limits

There = TypeVar("There")
Here = TypeVar("Here")


def core_count() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores() -> None:
    """Leave half of the cores to the network, and let threads sleep while they wait; best called before torch loads.

    By default each library takes every core and keeps it while it waits. On two cores, a clip of 640x480 played live
    then had 23 to 33 of its 84 faces drawn in time, so 61 (median of ten runs). What `OMP_NUM_THREADS` says, stays.
    """
    threads = os.environ.setdefault("OMP_NUM_THREADS", str(max(1, core_count() // 2)))  # of torch
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import numpy  # noqa: F401 - only what is loaded can be limited

    threadpool_limits(1, user_api="blas")
    if "torch" in sys.modules and threads.isdigit():  # then it has read them
        sys.modules["torch"].set_num_threads(int(threads))


@contextmanager
def as_scheduled() -> Iterator[None]:
    """Keep the threads that begin meanwhile, and this one, no more urgent than this one is now.

    SVT-AV1, opened by root, makes the thread that opens it and all of its own real-time ones, which every other
    program of the machine then waits for, and so does whatever they start.
    """
    if sys.platform != "linux":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    before = _threads()
    try:
        yield
    finally:
        for thread in (_threads() - before) | {threading.get_native_id()}:
            with suppress(OSError):  # one that has ended
                os.sched_setscheduler(thread, policy, parameters)


def _threads() -> set[int]:
    return {int(thread.name) for thread in Path("/proc/self/task").iterdir()}


def beside(there: Callable[[], There], here: Callable[[], Here]) -> tuple[There, Here]:
    """Return what both calls return; the first is made in a thread of its own, while this one makes the second.

    Raises:
        Exception: What `here` raised, or else `there`, once both are over.
    """
    with ThreadPoolExecutor(1) as helper:
        begun = helper.submit(there)
        made = here()
    return begun.result(), made
