"""Finds out who is in a recording by a few of its frames, and decides beforehand whom each person becomes.

Whom is decided as when a face is drawn in earnest: it is drawn once, and compared; nothing of that picture is kept.
"""

from __future__ import annotations

import itertools

from models.identity.recognizer import SAME_PERSON
from models.privacy import PseudonymBook
from streamer.consent.quality import FaceReader, turn_of
from streamer.faces.detect import SURE, FaceDetector
from streamer.pipeline.assembly import Loaded, traits_of
from streamer.pipeline.renderer import Renderer
from streamer.pipeline.tiers import Choice
from streamer.settings import Settings
from streamer.types import Face, Floats, Frame, KnownPerson, Track, TrackedFrame

LEAST_SIZE = 40.0  # pixels of a face that is embedded
MAX_SIDEWAYS = 0.5  # eye distances; as of `streamer.consent.quality.Observation`, which asks for more


class PeopleFinder:
    """The people of one recording; for one thread at a time.

    Args:
        loaded: With a recogniser, and a model that has strangers.
        settings: As the recording is to be rendered.
        stream: Its name.
    """

    def __init__(self, loaded: Loaded, settings: Settings, stream: str) -> None:
        networks = loaded.networks()
        assert networks.recognizer is not None
        assert networks.device is not None
        self._settings = settings
        self._reader, self._traits = FaceReader(networks.recognizer, networks.device), traits_of(loaded)
        self._renderer = Renderer(loaded)
        self._renderer.forget(stream)
        self._detector = FaceDetector(loaded.turns.detectors)
        self._book = PseudonymBook(SAME_PERSON)
        self._tracks = itertools.count(1)
        self._strangers: dict[int, int] = {}  # by person
        self._looks: dict[int, int] = {}

    def close(self) -> None:
        """Release what finds faces and what draws them."""
        self._detector.close()
        self._renderer.close()

    def look(self, frame: Frame) -> None:
        """Note who is seen well in a frame; whoever is new becomes somebody.

        Raises:
            AnonymizerError: If it could not be searched for faces.
        """
        here: set[int] = set()
        for face in self._detector(frame.image):
            embedding = self._embedding(frame, face)
            if embedding is None:
                continue
            person = self._book.identify(embedding, exclude=here)
            here.add(person)
            if person in self._book.people() and person not in self._strangers:
                stranger = self._stranger(frame, face)
                if stranger is not None:
                    self._strangers[person] = stranger
            self._looks[person] = self._looks.get(person, 0) + 1

    def people(self) -> list[KnownPerson]:
        """Return who was seen, and whom they become."""
        return [
            KnownPerson(embedding.astype("float32"), self._strangers[person], self._looks[person])
            for person, embedding in sorted(self._book.people().items())
            if person in self._strangers
        ]

    def _embedding(self, frame: Frame, face: Face) -> Floats | None:
        """Return what tells who a face is, where it is seen well enough."""
        if face.mesh is None or face.score < SURE or face.size < LEAST_SIZE:
            return None
        sideways, _ = turn_of(face.landmarks)
        return self._reader(frame.image, face).embedding if abs(sideways) <= MAX_SIDEWAYS else None

    def _stranger(self, frame: Frame, face: Face) -> int | None:
        """Return whom somebody becomes; None if nobody is unlike them enough, or cannot be drawn."""
        tracks = [Track(next(self._tracks), face, 0.0)]
        if self._traits:
            tracks = self._traits(frame.image, tracks, frame.seconds)
        drawn = {tracks[0].id: Choice("generated", "")}
        self._renderer(TrackedFrame(frame, tuple(tracks), starts_scene=True), drawn, self._settings)
        return self._renderer.drawer.stranger_of(tracks[0].id) if self._renderer.drawer else None
