"""Covers, in every frame of a stream, the regions that the settings name."""

from __future__ import annotations

import logging

import numpy as np

from streamer.region import misfit
from streamer.render.conceal import conceal_box
from streamer.settings import Settings
from streamer.types import Frame, Image

log = logging.getLogger(__name__)

LETTERBOXED = "always: the picture changed its shape, and bars were added"


class AlwaysCovered:
    """The regions of one stream: they stay where they are in its first picture, and grow and shrink with it.

    So they do anew where somebody else begins to send.
    """

    def __init__(self) -> None:
        self._first: tuple[int, int] | None = None
        self._reason = ""

    def misfit(self, frame: Frame, settings: Settings) -> str:
        """Return why the regions cannot be told in this frame, so that all of it must be covered; else ""."""
        height, width = frame.image.shape[:2]
        self._first = (width, height) if frame.is_first else self._first or (width, height)
        if not settings.always:
            return ""
        reason = LETTERBOXED if frame.is_letterboxed else misfit(settings.always, width, height, first=self._first)
        if reason and reason != self._reason:
            log.error("frame %d and those like it are covered whole: %s", frame.index, reason)
        self._reason = reason
        return reason

    def cover(self, image: Image, settings: Settings) -> None:
        """Cover the regions, in place and last of all, so that nothing is drawn over them."""
        height, width = image.shape[:2]
        for region in settings.always:
            box = region.box_in(width, height, first=self._first or (width, height))
            conceal_box(image, np.asarray(box, np.float32), cover=settings.cover, margin=0)
