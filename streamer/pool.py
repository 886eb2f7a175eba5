"""A pool of objects that serve one thread at a time, lent to any number of threads in the order they ask."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from streamer.errors import AnonymizerError


class Closable(Protocol):
    """Holds something that is to be freed."""

    def close(self) -> None:
        """Free it."""
        ...


Item = TypeVar("Item", bound=Closable)


class Pool(Generic[Item]):
    """Items that are made when they are needed, and used again.

    Who gives one back and asks again comes after those who wait: nobody starves, however much others have to do.

    Args:
        make: Makes one; it may be called by several threads at the same time.
        limit: How many there are at most; who wants one more waits.
    """

    def __init__(self, make: Callable[[], Item], *, limit: int) -> None:
        self._make, self._limit = make, limit
        self._changed = threading.Condition()
        self._waiting = deque[object]()  # who asked first comes first
        self._idle: list[Item] = []
        self._count = 0
        self._is_closed = False

    @contextmanager
    def borrowed(self) -> Iterator[Item]:
        """Lend an item to this thread alone.

        Raises:
            AnonymizerError: If the pool is closed.
        """
        item = self._take()
        try:
            yield item
        finally:
            self._give_back(item)

    def close(self) -> None:
        """Free all items, those that are lent when they come back; who waits for one gets an error."""
        with self._changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for item in idle:
            item.close()

    def _take(self) -> Item:
        mine = object()
        with self._changed:
            self._waiting.append(mine)
            try:
                self._changed.wait_for(lambda: self._is_closed or (self._waiting[0] is mine and self._has_one))
            finally:
                self._waiting.remove(mine)
                self._changed.notify_all()  # there may be one for the next, too
            if self._is_closed:
                raise AnonymizerError("the anonymizer is closed")
            if self._idle:
                return self._idle.pop()  # the last that came back: whoever is alone uses one only
            self._count += 1
        try:
            return self._make()
        except BaseException:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()
            raise

    @property
    def _has_one(self) -> bool:
        return bool(self._idle) or self._count < self._limit

    def _give_back(self, item: Item) -> None:
        with self._changed:
            is_closed = self._is_closed
            if not is_closed:
                self._idle.append(item)
                self._changed.notify_all()
        if is_closed:
            item.close()


class Shared(Generic[Item]):
    """A pool as long as somebody uses it: the last one who leaves frees what is in it.

    Args:
        make, limit: As of `Pool`.
    """

    def __init__(self, make: Callable[[], Item], *, limit: int) -> None:
        self._make, self._limit = make, limit
        self._lock = threading.Lock()
        self._pool: Pool[Item] | None = None
        self._users = 0

    def join(self) -> Pool[Item]:
        """Return the pool; whoever does so leaves once."""
        with self._lock:
            self._users += 1
            self._pool = self._pool or Pool(self._make, limit=self._limit)
            return self._pool

    def leave(self) -> None:
        """Say that one of those who joined needs it no more."""
        with self._lock:
            self._users -= 1
            last, self._pool = (None, self._pool) if self._users else (self._pool, None)
        if last:
            last.close()
