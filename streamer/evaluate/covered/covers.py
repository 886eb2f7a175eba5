"""The methods under attack: ours under two kinds of key, and the classic ones; each covers a photo or a whole clip."""

from __future__ import annotations

import hashlib
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
STILL = 0.3  # of the movement of faces is left
KEYS = 3  # in turn: as many as there are photos of a person, so that no two of theirs share one


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

    def photo(self, original: Original, recording: int) -> Image:
        """Return the photo covered, `(H, W, 3)` uint8 RGB; each is a recording of its own, by number."""
        ...

    def clip(self, frames: Sequence[Frame], faces: Sequence[Original], recording: int) -> list[Image]:
        """Return frames of one recording covered, `(H, W, 3)` uint8 RGB each.

        Args:
            frames: In order.
            faces: In each frame, the face under attack.
            recording: Its number.
        """
        ...


class Classic:
    """A method without memory and without a key."""

    def __init__(self, name: str, title: str, hide: Callable[[Original], Image]) -> None:
        self.name, self.title, self._hide = name, title, hide

    def photo(self, original: Original, recording: int) -> Image:
        """Return the photo covered."""
        return self._hide(original)

    def clip(self, frames: Sequence[Frame], faces: Sequence[Original], recording: int) -> list[Image]:
        """Return each frame covered as a photo is."""
        return [self._hide(face) for face in faces]


class OursWithoutKey:
    """Ours as it is used: each photo another recording, under a key that the attacker has not."""

    name, title = "ours", "ours, key unknown"

    def __init__(self, anonymizer: Anonymizer, *, seed: int) -> None:
        """Take an anonymizer, for its model and settings; its key is replaced by some of `seed`."""
        # Not new ones: figures are to come out the same again.
        keys = [hashlib.sha256(b"attack %d %d" % (seed, number)).digest() for number in range(KEYS)]
        self._keyed = [anonymizer.with_settings(replace(anonymizer.settings, key=key)) for key in keys]

    def photo(self, original: Original, recording: int) -> Image:
        """Return the photo covered; the next one is another recording under another key."""
        keyed = self._keyed[recording % KEYS]
        return keyed.picture(_still(original.image), stream=str(recording)).image

    def clip(self, frames: Sequence[Frame], faces: Sequence[Original], recording: int) -> list[Image]:
        """Return the frames of one recording covered."""
        keyed = self._keyed[recording % KEYS]
        return [safe.image for safe in keyed.frames(frames, stream=f"clip {recording}")]


class OursWithKey(OursWithoutKey):
    """Ours to an attacker who has the key, or the tool with the key in it, and runs it as the owner did."""

    name, title = "ours_same_key", "ours, key known"

    def photo(self, original: Original, recording: int) -> Image:
        """Return the photo covered; strangers are drawn by key, stream and person: here all three recur."""
        return self._keyed[0].picture(_still(original.image), stream="photos").image


class OursStill(OursWithoutKey):
    """Ours as `--expression` damps movement, which only recordings have."""

    name, title = "ours_still", f"ours, --expression {STILL:g}"

    def __init__(self, anonymizer: Anonymizer, *, seed: int) -> None:
        super().__init__(anonymizer.with_settings(replace(anonymizer.settings, expression=STILL)), seed=seed)


def covers_of(anonymizer: Anonymizer, *, seed: int) -> list[Cover]:
    """Return what is attacked: nothing at all, the classic methods, and `anonymizer` under both kinds of key."""
    return [
        Classic("unchanged", "unchanged", unchanged),
        Classic("blur_weak", f"blur {WEAK_BLUR:g} px", partial(blur, strength=WEAK_BLUR)),
        Classic("blur_strong", f"blur {STRONG_BLUR:g} px", partial(blur, strength=STRONG_BLUR)),
        Classic("mosaic", f"mosaic {MOSAIC:g} px", partial(mosaic, strength=MOSAIC)),
        Classic("solid", "solid", solid),
        OursWithoutKey(anonymizer, seed=seed),
        OursWithKey(anonymizer, seed=seed),
    ]


NOBODY = PhotoFile("", "", (), Path())


def portrait(image: Image, face: Face, photo: PhotoFile = NOBODY) -> Original:
    """Return what methods read of a photo, its picture and its face; the rest is not measured here."""
    assert face.mesh is not None
    expression = expression_of(face.mesh, np.full(2, np.nan, np.float32))
    return Original(photo, image, face, image[:0], embeddings={}, hog=False, expression=expression)


def _still(image: Image) -> Frame:
    return Frame(image, index=0, pts=0, time_base=Fraction(1))
