"""Those who agreed to be seen, in one stream: looks at each track now and then, and says who stays visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

import torch

from models.face_model import prepare
from models.pretrained.imported import load_recognizer
from streamer.consent.cohort import SHIPPED_COHORT, Cohort, load_cohort
from streamer.consent.entries import ConsentList
from streamer.consent.judge import ConsentJudge
from streamer.consent.others import Network, has_another
from streamer.consent.quality import FaceReader, recognizer_id
from streamer.types import Image, Track

LOOK_SECONDS = 0.09  # between two looks at a track that is covered; well within `judge.FRESH_SECONDS`


@dataclass(frozen=True, slots=True)
class ConsentContext:
    """Whose consent holds, and what knows them; shared by streams."""

    consents: ConsentList
    crowd: Cohort
    reader: FaceReader

    @classmethod
    def load(
        cls, path: Path, *, key: bytes, camera: str | None, recognizer: str = "identity", crowd: Path = SHIPPED_COHORT
    ) -> Self:
        """Read a consent list, on the CPU: it is a look or two a frame.

        Args:
            path: The list.
            key: Of the list's key file.
            camera: What is filmed with; None opens only entries for every camera.
            recognizer: A name or a file; the one that the list was made with.
            crowd: Strangers by the same recogniser.

        Raises:
            SourceError: If the list, an entry or the crowd cannot be read.
            CheckpointError: If there is no such recogniser.
        """
        known_by, place = recognizer_id(recognizer), torch.device("cpu")
        consents = ConsentList.load(path, key=key, camera=camera, today=date.today(), recognizer=known_by)
        reader = FaceReader(prepare(load_recognizer(recognizer), place), place)
        return cls(consents, load_cohort(crowd, known_by), reader)


class ConsentFilter:
    """The decisions of one stream.

    Args:
        keeping: Whose consent holds.
        network: Looks for others at the place of whoever is to stay visible, in each frame; closed with this.
    """

    def __init__(self, keeping: ConsentContext, network: Network) -> None:
        self._judge, self._reader = ConsentJudge(keeping.consents, keeping.crowd), keeping.reader
        self._network = network
        self._looked: dict[int, float] = {}
        self._shown: set[int] = set()  # who was visible in the last frame

    def close(self) -> None:
        """Release the network."""
        self._network.close()

    def visible(self, image: Image, tracks: Sequence[Track], seconds: float) -> set[int]:
        """Return the ids of the tracks that stay visible in this frame.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            tracks: All of the frame; only what is seen in it, with a mesh, can stay visible. Who was in the last one is
                looked at in each: somebody else may have taken their place.
            seconds: Presentation time.
        """
        seen = [track for track in tracks if track.missed_seconds == 0 and track.face.mesh is not None]
        self._looked = {track.id: self._looked[track.id] for track in seen if track.id in self._looked}
        looked = set[int]()
        for track in seen:
            is_due = not 0 <= seconds - self._looked.get(track.id, float("-inf")) < LOOK_SECONDS
            if is_due or track.id in self._shown:
                looked.add(track.id)
                self._looked[track.id] = seconds
                alone = self._judge.observe(track.id, self._reader(image, track.face), seconds=seconds)
                if alone.name and has_another(image, track.face, self._network):
                    self._judge.doubt(track.id, seconds=seconds)
        decisions = self._judge.decide(seen, seconds=seconds)
        self._shown = {number for number in looked if decisions[number].name}
        return set(self._shown)
