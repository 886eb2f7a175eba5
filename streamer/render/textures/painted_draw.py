"""Draw what a network makes as textures are drawn: with the frame's own edges, softness and noise.

For models whose crops hold the face alone. The network makes the inner face; where that ends, hair, jaw and ears of the
frame begin, as sharp as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch

from models.face_model import FaceModel
from streamer.render.align import MeshAligner
from streamer.render.blend import inner_face, relight
from streamer.render.cutter import ALONE
from streamer.render.draw import FaceDrawer, as_image
from streamer.render.drawer import mesh_of
from streamer.render.pseudonym import Pseudonyms, Trial
from streamer.render.smooth import OneEuro, OneEuroConfig
from streamer.render.textures import paint
from streamer.render.textures.finisher import Finisher
from streamer.render.textures.light import SIDE, LightReader
from streamer.types import Floats, Image, Track

LIGHT_FILTER = OneEuroConfig(min_cutoff=0.8, speed_gain=2.0)  # log colours a second
OFFERED = 12  # strangers who suit a person; all are tried on, and each is a pass through the network
FRONT_FILTER = OneEuroConfig(min_cutoff=1.0, speed_gain=0.5)


class PaintedFaceDrawer(FaceDrawer):
    """Draws the faces of one stream with a network whose crops hold the face alone."""

    def __init__(self, model: FaceModel, device: torch.device, *, pseudonyms: Pseudonyms) -> None:
        points = ((np.array(model.template.points) - 0.5) / ALONE + 0.5).astype(np.float32)  # with what lies around
        self._reader = LightReader(points)
        self._small, self._around = MeshAligner(points, SIDE), MeshAligner(points, round(ALONE * model.crop_size))
        self._finished = Finisher()
        super().__init__(model, device, pseudonyms=pseudonyms)

    def reset(self, stream: str | None) -> None:
        """Forget everyone; the next stream has this name, or one that follows from the first picture with a face."""
        super().reset(stream)
        self._lights, self._fronts = OneEuro(LIGHT_FILTER), OneEuro(FRONT_FILTER)
        self._looks: dict[int, paint.Look] = {}
        self._finished.reset()

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        super().keep_only(alive)
        self._lights.keep_only(alive)
        self._fronts.keep_only(alive)
        self._looks = {track: look for track, look in self._looks.items() if track in alive}
        self._finished.keep_only(alive)

    def draw(
        self,
        image: Image,
        original: Image,
        tracks: Sequence[Track],
        seconds: float,
        *,
        beta: float,
        fresh: int,
        covered: Sequence[Track] = (),
        expression: float = 1.0,
    ) -> int:
        """See `Drawer.draw`; those made anew are made in one batch."""
        stale = self._stale(tracks, seconds, beta=beta, fresh=fresh)
        for track in stale:
            self._looks[track.id] = self._look(original, track, seconds)
        if stale:
            self._make(original, stale, seconds, beta=beta)
        own = self._damped([mesh_of(track) for track in tracks], tracks, seconds, expression)
        outlines = {track.id: inner_face(track.face) for track in tracks}
        boxes = [paint.corners(track.face.box) for track in covered]
        for track, mesh in zip(tracks, self._reshaped(own, tracks, beta), strict=True):
            hidden = boxes + [outline for number, outline in outlines.items() if number != track.id]
            drawn = replace(track.face, mesh=mesh)
            canvas = paint.canvas(original, track.face, mesh_of(track), drawn, aligner=self._around)
            if canvas is None:
                continue
            canvas = replace(canvas, below=paint.without(canvas.below, image, hidden, canvas.roi))
            look = self._looks[track.id]
            patch, lit = self._face(canvas, original, self._made[track.id].crop, look)
            patch = self._finished(track.id, canvas, patch, lit, seconds)
            paint.blend(image, canvas, patch, look, lit=lit)
        return len(stale)

    def _look(self, image: Image, track: Track, seconds: float) -> paint.Look:
        """Return the light on a track and what lies before it, smoothed."""
        light = self._reader(self._small.whole(image, track.face))
        cells = self._lights.update(track.id, light.cells, seconds)
        front = self._fronts.update(track.id, self._reader.front(light.skin)[..., None], seconds)[..., 0]
        return paint.Look(cells, light.spread, np.zeros((2, 2), np.float32), front, np.zeros(2, np.float32))

    def _face(self, canvas: paint.Canvas, original: Image, crop: Image, look: paint.Look) -> tuple[Floats, Floats]:
        """Return the crop on the canvas, lit as the person, and log colours of skin in that light, `(h, w, 3)` each."""
        size, side = len(crop), canvas.side
        at = ((canvas.where + 0.5) / side - 0.5) * (ALONE * size) + (size / 2 - 0.5)
        patch = cv2.remap(crop, at.astype(np.float32), None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        x1, y1, x2, y2 = canvas.roi
        mask = (canvas.inside & canvas.known).astype(np.float32)
        return relight(patch, original[y1:y2, x1:x2].astype(np.float32), mask=mask), paint.expected(canvas, look)

    def _softened(self, new: Image, old: Image) -> Image:
        return new  # that is seen to in the frame

    def _others(self, image: Image, tracks: Sequence[Track], crops: torch.Tensor, meshes: torch.Tensor) -> torch.Tensor:
        rows = {track.id: row for row, track in enumerate(tracks)}

        def try_on(track: Track, numbers: Sequence[int]) -> Iterator[Trial]:
            return self._tried_on(image, track, crops[rows[track.id]], numbers)

        return self._pseudonyms.assign(image, tracks, crops, meshes, try_on=try_on, offered=OFFERED)

    def _tried_on(self, image: Image, track: Track, crop: torch.Tensor, numbers: Sequence[int]) -> Iterator[Trial]:
        """Yield the frame with a track drawn as each of some strangers, to see how like the person they are."""
        zero = torch.zeros(1, device=self._device).expand(len(numbers))
        others = torch.tensor(numbers, device=self._device)
        latents = self._model.encode(crop.expand(len(numbers), -1, -1, -1), zero, others)
        own = torch.from_numpy(mesh_of(track)[None].copy()).to(self._device)
        shaped = self._model.reshape(own.expand(len(numbers), -1, -1), zero, others)
        for made, mesh in zip(map(as_image, self._generated(latents)), shaped.cpu().numpy(), strict=True):
            picture, drawn = image.copy(), replace(track.face, mesh=mesh)
            canvas = paint.canvas(image, track.face, mesh_of(track), drawn, aligner=self._around)
            if canvas is not None:
                look = self._looks[track.id]
                patch, lit = self._face(canvas, image, made, look)
                paint.blend(picture, canvas, patch, look, lit=lit)
            yield Trial((picture, track.face))
