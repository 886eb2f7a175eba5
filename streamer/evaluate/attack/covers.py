"""The methods under attack: ours under two kinds of key, and the classic ones; each covers a photo or a whole clip."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from streamer.evaluate.images.baselines import blur, mosaic, solid, unchanged
from streamer.evaluate.images.image_evaluation import Original
from streamer.evaluate.images.photos import PhotoFile
from streamer.evaluate.measures.utility import expression_of
from streamer.pipeline.anonymizer import Anonymizer
from streamer.types import Face, Frame, Image

# Pixels of a face's 256 px crop. At the weak blur (a kernel of 31) a person is still known to a recogniser, at the
# strong one (101) hardly to a human; the mosaic leaves about 12 cells across a face.
WEAK_BLUR, STRONG_BLUR, MOSAIC = 5.0, 15.5, 13.0


class Cover(Protocol):
    """One method."""

    @property
    def name(self) -> str:
        """In figures' names, such as "blur_weak"."""
        ...

    @property
    def title(self) -> str:
        """For readers."""
        ...

    def photo(self, original: Original) -> Image:
        """Return the photo covered, `(H, W, 3)` uint8 RGB."""
        ...

    def clip(self, frames: Sequence[Frame], faces: Sequence[Original]) -> list[Image]:
        """Return frames of one recording covered, `(H, W, 3)` uint8 RGB each.

        Args:
            frames: In order.
            faces: In each frame, the face under attack.
        """
        ...


class Classic:
    """A method without memory and without a key."""

    def __init__(self, name: str, title: str, hide: Callable[[Original], Image]) -> None:
        self.name, self.title, self._hide = name, title, hide

    def photo(self, original: Original) -> Image:
        """Return the photo covered."""
        return self._hide(original)

    def clip(self, frames: Sequence[Frame], faces: Sequence[Original]) -> list[Image]:
        """Return each frame covered as a photo is."""
        return [self._hide(face) for face in faces]


class Ours:
    """Ours as it is used: each photo another recording, under a key that the attacker has not."""

    name, title = "ours", "ours, key unknown"

    def __init__(self, anonymizer: Anonymizer, *, seed: int) -> None:
        """Take an anonymizer, for its model and settings; its key is replaced by one of `seed`."""
        key = hashlib.sha256(b"attack %d" % seed).digest()  # not new: figures are to come out the same again
        self._anonymizer = anonymizer.with_settings(replace(anonymizer.settings, key=key))
        self._recordings = map(str, itertools.count())

    def photo(self, original: Original) -> Image:
        """Return the photo covered; the next one is another recording, whose strangers are drawn anew."""
        return self._anonymizer.picture(_still(original.image), stream=next(self._recordings)).image

    def clip(self, frames: Sequence[Frame], faces: Sequence[Original]) -> list[Image]:
        """Return the frames of one recording covered."""
        return [safe.image for safe in self._anonymizer.frames(frames, stream=next(self._recordings))]


class OursWithKey(Ours):
    """Ours to an attacker who has the key, or the tool with the key in it, and runs it as the owner did."""

    name, title = "ours_same_key", "ours, key known"

    def photo(self, original: Original) -> Image:
        """Return the photo covered; strangers are drawn by key, stream and person: here all three recur."""
        return self._anonymizer.picture(_still(original.image), stream="photos").image


def covers_of(anonymizer: Anonymizer, *, seed: int) -> list[Cover]:
    """Return what is attacked: nothing at all, the classic methods, and `anonymizer` under both kinds of key."""
    return [
        Classic("unchanged", "unchanged", unchanged),
        Classic("blur_weak", f"blur {WEAK_BLUR:g} px", partial(blur, strength=WEAK_BLUR)),
        Classic("blur_strong", f"blur {STRONG_BLUR:g} px", partial(blur, strength=STRONG_BLUR)),
        Classic("mosaic", f"mosaic {MOSAIC:g} px", partial(mosaic, strength=MOSAIC)),
        Classic("solid", "solid", solid),
        Ours(anonymizer, seed=seed),
        OursWithKey(anonymizer, seed=seed),
    ]


def portrait(image: Image, face: Face) -> Original:
    """Return what methods read of a photo, its picture and its face; the rest is not measured here."""
    assert face.mesh is not None
    expression = expression_of(face.mesh, np.full(2, np.nan, np.float32))
    nobody = PhotoFile("", "", (), Path())
    return Original(nobody, image, face, image[:0], embeddings={}, hog=False, expression=expression)


def _still(image: Image) -> Frame:
    return Frame(image, index=0, pts=0, time_base=Fraction(1))
