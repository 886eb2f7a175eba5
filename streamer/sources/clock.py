"""The clock of a stream of packets or frames: starts with the file, and goes on where it breaks.

A recorder counts from when it was switched on, is set while it runs, or writes a time that is wrong. What is right is
kept to the tick.
"""

from __future__ import annotations

import logging
import time
from fractions import Fraction

from av.container.input import InputContainer
from av.stream import Disposition, Stream

log = logging.getLogger(__name__)

BACK_SECONDS = 1.0  # a clock set back further than this was restarted: two recordings joined
LEAP_SECONDS = 10.0  # nor does it wait longer than this (FFmpeg's dts_delta_threshold), unless something tells why
LEAP_SECONDS_ALONE = 3600.0  # where nothing could tell: the picture of a screen stays until it changes
CLOCK_MAY_JUMP = 0x200  # FFmpeg's AVFMT_TS_DISCONT
LEAP_STEPS = 20  # nor than so many frames of a time-lapse
MAX_DRIFT = 0.5  # seconds between the clock of a live stream and ours; then it starts anew


def common_start(container: InputContainer) -> Fraction:
    """Return the seconds at which picture or sound begins, whichever is first; 0 where that is not after 0.

    What lies before 0 is not to be shown, or the delay of a codec, and is left there.
    """
    starts = [
        stream.start_time * stream.time_base
        for stream in container.streams
        if is_timed(stream) and stream.start_time is not None and stream.time_base
    ]
    return max(Fraction(0), min(starts, default=Fraction(0)))


def longest_wait(container: InputContainer) -> float:
    """Return for how many seconds a picture may stay, unless something tells why it stays for longer."""
    others = sum(map(is_timed, container.streams)) > 1
    is_broadcast = container.format.flags & CLOCK_MAY_JUMP
    return LEAP_SECONDS if others or is_broadcast else LEAP_SECONDS_ALONE


def is_timed(stream: Stream) -> bool:
    """Return whether a stream is picture or sound that plays; cover art does not."""
    return stream.type in ("video", "audio") and not stream.disposition & Disposition.attached_pic


class Activity:
    """When the other streams of a file had something: if they did all the while, a gap in one is real."""

    def __init__(self) -> None:
        self._seconds: set[int] = set()

    def add(self, seconds: float) -> None:
        """Note the time of a packet, by the clock of the file."""
        self._seconds.add(int(seconds))

    def is_within(self, start: float, end: float) -> bool:
        """Return whether there was a packet well after `start` and well before `end`."""
        return any(start + 1 < at < end - 2 for at in self._seconds)


class Clock:
    """Makes times that are present and increase; those that already do are kept exactly, but for the common start.

    Args:
        time_base: Seconds per tick.
        step: Ticks from one time to the next, where nothing else tells.
        start: Seconds that are subtracted: `common_start`.
        activity: Of the other streams.
        tick: The least from one time to the next: 0 lets them be equal.
        longest_wait: Seconds from one time to the next above which something must tell why.
    """

    def __init__(
        self,
        time_base: Fraction,
        *,
        step: Fraction,
        start: Fraction = Fraction(0),
        activity: Activity | None = None,
        tick: int = 1,
        longest_wait: float = LEAP_SECONDS,
    ) -> None:
        self._time_base, self._step, self._tick = time_base, step, tick
        self._offset = -round(start / time_base)
        self._activity = activity or Activity()
        self._back = BACK_SECONDS / time_base
        self._leap = max(longest_wait / float(time_base), float(LEAP_STEPS * step))
        self._last: int | None = None
        self._last_duration = 0
        self._counted = Fraction(0)  # the last time before rounding, so that a step of 33.3 ticks does not drift

    def time(self, raw: int | None, following: int | None = None, *, duration: int = 0) -> int:
        """Return the next time, in ticks.

        Args:
            raw: What the file says.
            following: What it says of the one after; None at the end, or where it says nothing.
            duration: How long this one lasts; 0 where unknown.
        """
        if raw is None:
            self._counted += self._step if self._last is not None else 0
            time = round(self._counted)
        else:
            after = None if following is None else following + self._offset
            time = self._corrected(raw + self._offset, after)
        if self._last is not None:
            time = max(time, self._last + self._tick)
        if time != round(self._counted):
            self._counted = Fraction(time)
        self._last, self._last_duration = time, duration
        return time

    def _corrected(self, time: int, after: int | None) -> int:
        if self._last is None:  # a first one that is far after the second
            return time if after is None or time <= after + self._back else after - round(self._step)
        expected = self._last + round(self._step)
        if after is not None and self._last < after <= self._last + self._leap and not self._last <= time <= after:
            log.debug("one time is out of order")
            return min(expected, (self._last + after) // 2)
        if time < self._last - self._back or self._is_leap(time):
            seconds = float((time - self._last) * self._time_base)
            log.warning("the clock jumps by %.1f s: what follows is moved", seconds)
            self._offset += expected - time
            return expected
        return time

    def _is_leap(self, time: int) -> bool:
        assert self._last is not None
        gap = time - self._last
        if gap <= self._leap or self._last_duration >= gap / 2:
            return False
        end = float((time - self._offset) * self._time_base)
        return not self._activity.is_within(end - float(gap * self._time_base), end)


class LiveClock:
    """Ticks since the first frame of a live source, strictly increasing.

    The stream's own clock counts, as what arrives has been jostled on its way, unless it does not keep time with ours.

    Args:
        time_base: Seconds of a tick.

    Attributes:
        offset: Seconds from the stream's clock to this one; None before a picture that has a time.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._time_base = time_base
        self._start: float | None = None  # when the first frame came: weights may be loaded before it is asked for
        self._last = -1
        self.offset: float | None = None

    def restart(self) -> None:
        """Forget the stream's clock, as for a new connection."""
        self.offset = None

    def tick(self, seconds: float | None, arrived: float) -> int:
        """Return the pts of a picture by its own time, if it has one, and when it came, by `time.monotonic`."""
        since_start = self._since_start(arrived)
        if seconds is None:
            return self._later(since_start)
        if self.offset is None or abs(seconds + self.offset - since_start) > MAX_DRIFT:
            self.offset = since_start - seconds
        return self._later(seconds + self.offset)

    def now(self) -> int:
        """Return the pts of a picture that did not come."""
        return self._later(self._since_start(time.monotonic()))

    def _since_start(self, now: float) -> float:
        if self._start is None:
            self._start = now
        return now - self._start

    def _later(self, seconds: float) -> int:
        self._last = max(self._last + 1, round(seconds / self._time_base))
        return self._last
