"""Compares what is drawn with whom it was drawn over, and says which faces must not be shown. Sees both, keeps neither.

The last check before a frame leaves: whatever the network did, a face that is taken for the person is covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from models.identity import IDENTITY_CROP_SIZE, IDENTITY_LANDMARKS, SAME_PERSON, FaceRecognizer
from streamer.align import SimilarityAligner
from streamer.types import Floats, GuardReport, Image, Track

CHECK_SECONDS = 0.5  # between two comparisons of one track; a new face, or a new stranger, is compared at once
MAX_CHECKS = 2  # tracks compared in one frame, so that a crowd costs no more than a pair; the longest unchecked first


@dataclass
class Guard:
    """Watches the drawn faces of one stream.

    Args:
        recognizer: Prepared, on `device`.
        device: Where crops go.
    """

    # Cosines over which a first, a second and a third stranger is not shown. One pair of strangers in 1,000 reaches the
    # last; the others are less, because another stranger costs little: of 201 faces drawn, 9 were over.
    limits: ClassVar = (0.35, 0.35, SAME_PERSON)

    recognizer: FaceRecognizer
    device: torch.device
    _report: GuardReport = field(default_factory=GuardReport)
    _checked: dict[int, float] = field(default_factory=dict)  # seconds of each track's last comparison
    _aligner: SimilarityAligner = field(
        default_factory=lambda: SimilarityAligner(
            np.array(IDENTITY_LANDMARKS, np.float32) / IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE
        )
    )

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run the recogniser once: its first run is slow."""
        self.recognizer(torch.zeros(2, 3, IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE, device=self.device))

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        self._checked = {track: seconds for track, seconds in self._checked.items() if track in alive}

    def check(
        self, original: Image, drawn: Image, tracks: Sequence[Track], *, seconds: float, limit: float
    ) -> list[Track]:
        """Return the tracks whose drawn face is still taken for the person's; they are due again at once.

        Args:
            original: `(H, W, 3)` uint8 RGB.
            drawn: The frame with new faces.
            tracks: Those drawn.
            seconds: Presentation time.
            limit: Cosine over which a face is taken for the person's.
        """
        due = self._due(tracks, seconds)
        if not due:
            return []
        scores = self._compare(original, drawn, due)
        alike = [track for track, score in zip(due, scores, strict=True) if not score <= limit]  # nan is too like
        self._checked |= {track.id: seconds for track in due}
        self.keep_only(self._checked.keys() - {track.id for track in alike})
        self._report += GuardReport(len(due), len(alike), max([-1.0, *scores[scores <= limit].tolist()]))
        return alike

    def take_report(self) -> GuardReport:
        """Return what was compared since this was last called."""
        report, self._report = self._report, GuardReport()
        return report

    def _due(self, tracks: Sequence[Track], seconds: float) -> list[Track]:
        new = [track for track in tracks if track.id not in self._checked]
        old = [track for track in tracks if seconds - self._checked.get(track.id, seconds) >= CHECK_SECONDS]
        old.sort(key=lambda track: self._checked[track.id])
        return new + old[: max(0, MAX_CHECKS - len(new))]

    @torch.inference_mode()
    def _compare(self, original: Image, drawn: Image, tracks: Sequence[Track]) -> Floats:
        """Return the cosine of person and drawn face of each track, `(N,)`."""
        crops = np.stack([self._aligner.crop(image, track.face) for image in (original, drawn) for track in tracks])
        tensor = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        before, after = self.recognizer(tensor).float().chunk(2)
        return np.asarray((before * after).sum(dim=1).cpu().numpy(), np.float32)
