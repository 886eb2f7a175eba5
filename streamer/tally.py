"""The one count of safe frames: the summary of a run, audit logs, metrics and manifests all read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from streamer.types import GuardReport, SafeFrame, Tier


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted; tallies of successive frames add up.

    Attributes:
        frames: All that came out, those covered whole too.
        dropped: Frames that did not come out: there was no time for them.
        faces: Faces, once in each frame that shows them, by how and why: `(tier, reason)`, reason "" when generated.
        failures: Frames that were covered whole, by why.
        guard: How like their persons the drawn faces were.
    """

    frames: int = 0
    dropped: int = 0
    faces: Mapping[tuple[Tier, str], int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    guard: GuardReport = field(default_factory=GuardReport)

    @classmethod
    def of(cls, frame: SafeFrame, *, dropped: int = 0) -> Self:
        """Return the tally of one frame, and of what was dropped before it."""
        faces = Counter((face.tier, face.reason) for face in frame.faces)
        return cls(1, dropped, faces, {frame.failed: 1} if frame.failed else {}, frame.guard)

    def __add__(self, later: Tally) -> Tally:
        return Tally(
            self.frames + later.frames,
            self.dropped + later.dropped,
            Counter(self.faces) + Counter(later.faces),
            Counter(self.failures) + Counter(later.failures),
            self.guard + later.guard,
        )

    @property
    def face_frames(self) -> int:
        """How many faces there were, each counted in every frame that shows it."""
        return sum(self.faces.values())

    @property
    def whole(self) -> int:
        """How many frames were covered whole."""
        return sum(self.failures.values())

    @property
    def tiers(self) -> dict[Tier, int]:
        """Faces by what replaced them."""
        counts = Counter[Tier]()
        for (tier, _), count in self.faces.items():
            counts[tier] += count
        return dict(counts)

    @property
    def reasons(self) -> dict[str, int]:
        """Faces that were not drawn, by why."""
        counts = Counter[str]()
        for (_, reason), count in self.faces.items():
            counts[reason] += count
        del counts[""]
        return dict(counts)
