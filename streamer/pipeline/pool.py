"""Lends what serves one thread at a time to any number of threads, a few pieces at once."""

from __future__ import annotations

import threading
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

    Args:
        make: Makes one; it may be called by several threads at the same time.
        limit: How many there are at most; who wants one more waits.
    """

    def __init__(self, make: Callable[[], Item], *, limit: int) -> None:
        self._make, self._limit = make, limit
        self._changed = threading.Condition()
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
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._idle or self._count < self._limit)
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
                self._changed.notify()
            raise

    def _give_back(self, item: Item) -> None:
        with self._changed:
            is_closed = self._is_closed
            if not is_closed:
                self._idle.append(item)
                self._changed.notify()
        if is_closed:
            item.close()
