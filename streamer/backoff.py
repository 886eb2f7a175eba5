"""When to call again what does not answer: soon at first, then ever later, and never all at the same moment."""

from __future__ import annotations

import random

FIRST_WAIT, LONGEST_WAIT = 0.25, 2.0  # seconds: doubled each time, and up to half of it more by chance


class Backoff:
    """The waits of one connection; for one thread."""

    def __init__(self) -> None:
        self._wait = FIRST_WAIT

    def reset(self) -> None:
        """Begin anew: it answered."""
        self._wait = FIRST_WAIT

    def next_wait(self) -> float:
        """Return the seconds to wait now; the next time it is twice as long."""
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
        return wait * random.uniform(1.0, 1.5)
