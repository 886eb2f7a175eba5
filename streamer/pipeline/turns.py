"""The networks that all streams of a process share: they take turns, frame by frame, so that one more costs little."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamer.cores import core_count
from streamer.faces.center_face_graphs import CenterFaceGraphs
from streamer.faces.detect import shared_networks
from streamer.faces.fine_mesh import FineGraph
from streamer.faces.networks import LastingNetworks
from streamer.pool import Shared


def limit() -> int:
    """Return how many of a kind are worth having: each keeps about two cores busy, and other stages need some, too."""
    return max(2, core_count() // 2)


@dataclass(frozen=True, slots=True)
class Turns:
    """Networks without state, each for one thread at a time; who asks first has it first.

    Attributes:
        detectors: MediaPipe's, with its mesh: 62 MB each. A busy scene of a file has two at work.
        small_faces: CenterFace: 70 MB each.
        fine_meshes: For drawn faces: 23 MB each.
    """

    detectors: Shared[LastingNetworks] = field(default_factory=lambda: shared_networks(limit=limit()))
    small_faces: Shared[CenterFaceGraphs] = field(default_factory=lambda: Shared(CenterFaceGraphs, limit=limit()))
    fine_meshes: Shared[FineGraph] = field(default_factory=lambda: Shared(FineGraph, limit=limit()))

    def join(self) -> None:
        """Keep what was made from one stream to the next, until as many have left."""
        for shared in (self.detectors, self.small_faces, self.fine_meshes):
            shared.join()

    def leave(self) -> None:
        """Keep it no longer."""
        for shared in (self.detectors, self.small_faces, self.fine_meshes):
            shared.leave()
