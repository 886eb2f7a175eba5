"""Looks at each new face of a stream a few times, to tell what kind of person it is: what a stranger must suit.

One look is wrong more often than several together: the first half second of a track decides, and then stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from models.attributes.attributes import ATTRIBUTE_CROP_SIZE, AttributeMean, AttributeNet
from models.face_model import DEFAULT_TEMPLATE
from streamer.render.align import SimilarityAligner
from streamer.types import Image, Track, Traits

LOOKS = 6  # at a track: what they agree on stands
LOOK_SECONDS = 0.1  # between two of them; successive frames are too alike to correct each other
MAX_LOOKS = 2  # in a frame, beside first looks
MIN_SIZE = 24.0  # pixels of a face; smaller ones are not drawn either


@dataclass(slots=True)
class _Known:
    """What was seen of a track, and when last."""

    mean: AttributeMean
    seconds: float


class TraitReader:
    """What is known of the faces of one stream.

    Args:
        network: Prepared, on `device`.
        device: Where crops go.
    """

    def __init__(self, network: AttributeNet, device: torch.device) -> None:
        self._network, self._device = network, device
        self._known: dict[int, _Known] = {}
        self._aligner = SimilarityAligner(np.array(DEFAULT_TEMPLATE.points, np.float32), ATTRIBUTE_CROP_SIZE)

    def forget(self) -> None:
        """Forget everyone: another stream begins."""
        self._known = {}

    def __call__(self, image: Image, tracks: Sequence[Track], seconds: float) -> list[Track]:
        """Return `tracks` with what is known of each by now; of those that are not among them nothing is kept.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            tracks: TrackedFrame in it.
            seconds: Presentation time.
        """
        self._known = {track.id: self._known[track.id] for track in tracks if track.id in self._known}
        due = self._due(tracks, seconds)
        if due:
            self._look(image, due, seconds)
        return [replace(track, traits=self._traits(track.id)) for track in tracks]

    def _due(self, tracks: Sequence[Track], seconds: float) -> list[Track]:
        seen = [t for t in tracks if t.missed_seconds == 0 and t.face.mesh is not None and t.face.size >= MIN_SIZE]
        new = [track for track in seen if track.id not in self._known]
        old = [(self._known[track.id], track) for track in seen if track.id in self._known]
        late = [(k, track) for k, track in old if k.mean.looks < LOOKS and seconds - k.seconds >= LOOK_SECONDS]
        late.sort(key=lambda pair: pair[0].mean.looks)
        return new + [track for _, track in late[:MAX_LOOKS]]

    @torch.inference_mode()
    def _look(self, image: Image, tracks: Sequence[Track], seconds: float) -> None:
        cut = np.stack([self._aligner.crop(image, track.face) for track in tracks])
        seen = self._network(torch.from_numpy(cut).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1)
        assert seen.ancestry is not None  # the network tells it
        looks = torch.cat([torch.stack([seen.sex, seen.age, seen.skin], dim=1), seen.ancestry], dim=1).cpu().tolist()
        for track, look in zip(tracks, looks, strict=True):
            known = self._known.setdefault(track.id, _Known(AttributeMean(), seconds))
            known.mean.add(*look)
            known.seconds = seconds

    def _traits(self, track: int) -> Traits | None:
        known = self._known.get(track)
        if known is None or not known.mean.looks:
            return None
        sex, age, skin, *ancestry = known.mean.mean
        return Traits(sex, age, skin, tuple(ancestry))
