"""What many threads share: each gets its turn, and the last one who leaves frees it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from streamer.errors import AnonymizerError
from streamer.pool import Pool, Shared
from tests.end_to_end.patience import PATIENCE_SECONDS


class Thing:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def wait_for_others(pool: Pool[Thing], count: int) -> None:
    """Return once so many threads wait for a thing of a pool."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(pool._waiting) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def asking(pool: Pool[Thing], name: str, served: list[str]) -> Iterator[None]:
    """Let a thread ask for a thing once, and note by `name` when it has it; it waits from here on."""

    def ask() -> None:
        with pool.borrowed():
            served.append(name)

    thread = threading.Thread(target=ask)
    before = len(pool._waiting)
    thread.start()
    wait_for_others(pool, before + 1)
    yield
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_who_gives_back_and_asks_again_comes_after_those_who_wait():
    pool, served = Pool(Thing, limit=1), list[str]()
    lent = pool.borrowed()
    lent.__enter__()
    with asking(pool, "first", served), asking(pool, "second", served):
        lent.__exit__(None, None, None)
        with pool.borrowed():
            assert served == ["first", "second"]


def test_who_has_much_to_do_gets_no_second_turn_while_another_waits():
    pool, served, done = Pool(Thing, limit=1), list[str](), threading.Event()

    def busy() -> None:
        while not done.is_set():
            with pool.borrowed():
                served.append("busy")

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    turns = []
    for _ in range(300):
        with pool._changed:  # so that what is counted begins with the asking
            before = len(served)
            with pool.borrowed():
                turns.append(len(served) - before)
    done.set()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert max(turns) <= 2  # one of each


def test_the_last_user_frees_what_is_shared_and_the_next_one_gets_another():
    shared = Shared(Thing, limit=1)
    one, two = shared.join(), shared.join()
    with one.borrowed() as thing:
        pass
    with two.borrowed() as again:
        assert again is thing
    shared.leave()
    assert not thing.is_closed
    shared.leave()
    assert thing.is_closed
    with pytest.raises(AnonymizerError, match="closed"), two.borrowed():
        pass
    with shared.join().borrowed() as other:
        assert not other.is_closed
