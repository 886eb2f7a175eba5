"""What Prometheus reads of a server: counts and times, nothing of what was seen."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from streamer.tally import Tally

LATENCIES = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)  # seconds
TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts of one server."""

    def __init__(self) -> None:
        self._registry = known = CollectorRegistry()
        self.peers = Gauge("veil_peers", "Peers that send video", registry=known)
        self.viewers = Gauge("veil_viewers", "Peers that watch", registry=known)
        self.refused = Counter("veil_refused_total", "Offers that were refused", ["reason"], registry=known)
        self._frames = Counter("veil_frames_total", "Frames that went out", registry=known)
        self._dropped = Counter("veil_frames_dropped_total", "Frames for which there was no time", registry=known)
        self._failed = Counter("veil_frames_failed_total", "Frames that were covered whole", registry=known)
        self._faces = Counter("veil_faces_total", "Faces by what replaced them", ["tier"], registry=known)
        self._compared = Counter("veil_guard_compared_total", "Faces compared with the person", registry=known)
        self._escalated = Counter("veil_guard_escalated_total", "Faces that were too like the person", registry=known)
        self._latency = Histogram(
            "veil_latency_seconds", "From the arrival of a frame to its leaving", buckets=LATENCIES, registry=known
        )

    def count(self, tally: Tally, latency: float) -> None:
        """Count what came out, and how many seconds it took."""
        self._frames.inc(tally.frames)
        self._dropped.inc(tally.dropped)
        self._failed.inc(tally.whole)
        for tier, count in tally.tiers.items():
            self._faces.labels(tier).inc(count)
        self._compared.inc(tally.guard.compared)
        self._escalated.inc(tally.guard.escalated)
        self._latency.observe(latency)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self._registry)
