"""Draw strangers that are textures: warped by the person's mesh, lit as the person is, with eyes and mouth that follow.

Of the person's face come its mesh, its smooth light, where the irises are and how bright eyes are, how noisy, sharp and
uneven the frame is, and in a narrow rim the pixels that keep hair and jaw where they are. What a network then adds, it
tells from what was drawn and what is around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import torch

from models import teeth
from models.texture_model import TextureModel
from models.textures import coarse
from models.textures.regions import NOSTRIL_OUTLINES, make_regions
from streamer.faces.fine_mesh import FINE, FineMesh
from streamer.render.align import MeshAligner, profile_ratio
from streamer.render.blend import inner_face
from streamer.render.cutter import shrunk
from streamer.render.drawer import MAX_MESH_LAG, MESH_FILTER, Drawer, Made, mesh_of
from streamer.render.pseudonym import Pseudonyms, Trial
from streamer.render.smooth import OneEuro, OneEuroConfig
from streamer.render.textures import eyes, mouth, paint
from streamer.render.textures.beard import Beard, BeardReader, with_beard
from streamer.render.textures.finisher import Finisher
from streamer.render.textures.harmonize import Ask, HarmonyKeeper, Shown, change, harmonize
from streamer.render.textures.light import DARK, SIDE, LightReader, Tones, logarithm
from streamer.render.textures.openings import as_open
from streamer.render.textures.stranger import (
    Stranger,
    enlarged,
    feature_masks,
    prepare,
    with_coarse,
    with_tones,
)
from streamer.types import Face, Floats, Image, Track

FILTERS = {
    "fine": MESH_FILTER,
    "light": OneEuroConfig(min_cutoff=0.8, speed_gain=2.0),  # log colours a second
    "gaze": OneEuroConfig(min_cutoff=1.5, speed_gain=8.0),  # widths of an eye a second
    "mouth": OneEuroConfig(min_cutoff=2.0, speed_gain=4.0),  # half the grey levels a second
    "eyes": OneEuroConfig(min_cutoff=1.0, speed_gain=2.0),  # half the grey levels a second
    "front": OneEuroConfig(min_cutoff=1.0, speed_gain=0.5),
}
PREPARED = 24  # strangers kept ready to be drawn: 2 MB each
MAP_SIZE = 256  # pixels: lips that touch are a crease in the map, which enlarged is a band
OFFERED = 48  # strangers who suit a person, of whom some are tried on
KEPT = 4  # of those tried on, the least like, of whom the key takes one
TRIED_SIZE = 90.0  # pixels, the longer side of a face on which strangers are tried
GREY = 128.0  # grey level
FINE_POINTS = np.array(FINE)


@dataclass(frozen=True, slots=True)
class View:
    """What a look at a track told.

    Attributes:
        face: The person's, with exact lips and lids.
        look: Of the person.
        fine: `(F, 2)`, by what lips and lids differ from the mesh that found the face.
        mouth: What can be seen in the person's (`mouth.coarse`), and the colour `(3,)` of the skin around.
        tones: Of the person's features.
        beard: The person's.
    """

    face: Face
    look: paint.Look
    fine: Floats
    mouth: tuple[Floats, Floats]
    tones: Tones
    beard: Beard


@dataclass(frozen=True, slots=True)
class _Drawn(Made):
    """What is known of a track: what was seen last, and who they have become."""

    view: View
    stranger: Stranger


class TextureDrawer(Drawer[_Drawn]):
    """Draws the faces of one stream by textures.

    Args:
        model: On `device`.
        device: Where its tensors are.
        pseudonyms: Who becomes whom, for this stream alone.
        network: Finds lids and lips.
    """

    def __init__(self, model: TextureModel, device: torch.device, *, pseudonyms: Pseudonyms, network: FineMesh) -> None:
        self._textures, self._network = model, network
        points = np.array(model.template.points, np.float32)
        self._points, self._reader = points, LightReader(points)
        self._masks = feature_masks(self._reader, points)
        self._inside = make_regions(points, coarse.SIZE).core
        self._beards = BeardReader(points, self._reader.skin)
        self._common = model.light.cpu().numpy()
        self._finished = Finisher(is_mottled=True)
        self._prepared: dict[int, Stranger] = {}
        self._usual_eye: eyes.Eyeball | None = None
        self._small = MeshAligner(points, SIDE)
        self._large = MeshAligner(points, model.crop_size, map_size=MAP_SIZE)
        self._harmony = HarmonyKeeper(self._large)
        self._eyes = [_place(points, indices) for indices in eyes.LIDS]
        self._mouth = _place(points, mouth.UPPER + mouth.LOWER)
        super().__init__(model, device, pseudonyms=pseudonyms)

    def warm_up(self) -> None:
        """Run the network once: its first run is slow."""
        size = self._textures.crop_size
        self._network(np.zeros((size, size, 3), np.uint8), self._template_mesh(size))

    def close(self) -> None:
        """Release the network."""
        self._network.close()

    def reset(self, stream: str | None) -> None:
        """Forget everyone; the next stream has this name, or one that follows from the first picture with a face."""
        super().reset(stream)
        self._filters = {name: OneEuro(config) for name, config in FILTERS.items()}
        self._finished.reset()
        self._harmony.reset()

    def keep_only(self, alive: set[int]) -> None:
        """Forget all tracks but those."""
        super().keep_only(alive)
        for one in self._filters.values():
            one.keep_only(alive)
        self._finished.keep_only(alive)
        self._harmony.keep_only(alive)

    def draw(
        self,
        image: Image,
        original: Image,
        tracks: Sequence[Track],
        seconds: float,
        *,
        beta: float,
        fresh: int,
        covered: Sequence[Track],
        expression: float = 1.0,
    ) -> int:
        """See `Drawer.draw`."""
        stale = self._stale(tracks, seconds, beta=beta, fresh=fresh)
        views = {track.id: self._view(original, track, seconds) for track in stale}
        for track, other in zip(stale, self._others(original, stale, views), strict=True):
            view, before = views[track.id], self._made.get(track.id)
            if before is not None and beta == 0.0 == before.beta:
                stranger = before.stranger
            else:
                stranger = self._stranger(original, view, int(other), beta=beta)
            self._made[track.id] = _Drawn(seconds, beta, other, view, stranger)
        finer = [self._finer(track) for track in tracks]
        damped = self._damped(finer, tracks, seconds, expression)
        meshes = self._reshaped(damped, tracks, beta)
        shadings = self._shading(damped, [self._made[track.id].view.look for track in tracks])
        outlines = {track.id: inner_face(track.face) for track in tracks}
        boxes = [paint.corners(track.face.box) for track in covered]
        for track, own, still, mesh, shading in zip(tracks, finer, damped, meshes, shadings, strict=True):
            hidden = boxes + [outline for n, outline in outlines.items() if n != track.id]
            mesh = as_open(mesh, still)
            drawn = replace(track.face, mesh=mesh)
            canvas = paint.canvas(original, track.face, own, drawn, aligner=self._large)
            if canvas is not None:
                canvas = replace(canvas, below=paint.without(canvas.below, image, hidden, canvas.roi))
                made = self._made[track.id]
                patch, lit = self._face(canvas, made.view, made.stranger, mesh, shading, own=beta)
                patch = self._finished(track.id, canvas, patch, lit, seconds)
                strength = paint.blend(image, canvas, patch, made.view.look, lit=lit)
                shown = Shown((int(made.other), beta), made.view.look.light, profile_ratio(mesh))
                follow = partial(self._harmony, track.id, drawn, shown, canvas, seconds=seconds)
                self._harmonize(image, drawn, strength, canvas, follow=follow)
        return len(stale)

    @torch.inference_mode()
    def _others(self, image: Image, tracks: Sequence[Track], views: dict[int, View]) -> list[torch.Tensor]:
        """Return who each of `tracks` is drawn as."""

        def try_on(track: Track, numbers: Sequence[int]) -> Iterator[Trial]:
            return self._tried_on(image, track.face, views[track.id], numbers)

        new = [track for track in tracks if track.id not in self._made]
        chosen = {track.id: self._made[track.id].other for track in tracks if track.id in self._made}
        if new:
            others = self._pseudonyms.assign(
                image, new, *self._seen(image, new), try_on=try_on, offered=OFFERED, kept=KEPT
            )
            chosen |= dict(zip((track.id for track in new), others, strict=True))
        return [chosen[track.id] for track in tracks]

    def _seen(self, image: Image, tracks: Sequence[Track]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the crops `(N, 3, S, S)` and meshes `(N, 468, 3)` by which strangers are chosen."""
        cut = np.stack([self._large.whole(image, track.face) for track in tracks])
        crops = torch.from_numpy(cut).to(self._device).permute(0, 3, 1, 2).float() / 127.5 - 1
        return crops, torch.from_numpy(np.stack([mesh_of(track) for track in tracks])).to(self._device)

    def _tried_on(self, image: Image, face: Face, view: View, numbers: Sequence[int]) -> Iterator[Trial]:
        """Yield the surroundings of a face, drawn as each stranger, to see how like the person that is; and the face.

        Small: that is as large as a recogniser takes it, and costs a fifth.
        """
        image, (face, seen), scale = shrunk(image, (face, view.face), TRIED_SIZE)
        assert seen.mesh is not None
        view = replace(view, face=seen, fine=view.fine * scale)
        own = torch.from_numpy(seen.mesh.copy())[None].to(self._device)
        shading = self._shading([seen.mesh], [view.look])[0]
        others = torch.tensor(numbers, device=self._device)
        zeros = torch.zeros(len(numbers), device=self._device)
        meshes = self._model.reshape(own.expand(len(numbers), -1, -1), zeros, others).cpu().numpy()
        for number, mesh in zip(numbers, meshes, strict=True):
            mesh = as_open(mesh, seen.mesh)
            canvas = paint.canvas(image, face, seen.mesh, replace(face, mesh=mesh), aligner=self._large)
            result, finish = image.copy(), None
            if canvas is not None:
                stranger = self._as_person(self._sketch(number), view, number)
                patch, lit = self._face(canvas, view, stranger, mesh, shading, own=0.0)
                strength = paint.blend(result, canvas, patch, view.look, lit=lit)
                finish = partial(self._harmonize, result, replace(face, mesh=mesh), strength, canvas)
            yield Trial((result, face), finish)

    def _view(self, image: Image, track: Track, seconds: float) -> View:
        """Return what a look at a track tells."""
        mesh = mesh_of(track)
        fine = self._network(image, mesh)
        steady = self._steady("fine", track.id, fine[FINE_POINTS], seconds, unit=track.face.size)
        lag = steady - fine[FINE_POINTS]
        length = np.linalg.norm(lag, axis=1, keepdims=True)
        lag *= np.minimum(1.0, MAX_MESH_LAG / 2 * track.face.size / np.maximum(length, 1e-6))
        exact = mesh.copy()
        exact[FINE_POINTS] = fine[FINE_POINTS] + lag
        face = Face(track.face.box, track.face.landmarks, exact, track.face.score)
        crop = self._small.whole(image, face)
        light = self._reader(crop)
        look = paint.Look(
            self._steady("light", track.id, light.cells, seconds),
            light.spread,
            self._steady("gaze", track.id, eyes.gaze(fine), seconds),
            self._steady("front", track.id, self._reader.front(light.skin)[..., None], seconds)[..., 0],
            self._steady("eyes", track.id, eyes.tone(image, fine)[:, None], seconds, unit=GREY)[:, 0],
        )
        seen = self._steady("mouth", track.id, mouth.coarse(image, fine), seconds, unit=GREY)
        skin = np.maximum(np.exp(enlarged(light.cells, SIDE)[self._mouth]) - DARK, 1.0)
        if track.id in self._made:  # a beard and the colours of features stay as they were seen first
            known = self._made[track.id].view
            tones, beard = known.tones, known.beard
        else:
            tones, beard = self._reader.tones(light), self._beards(logarithm(crop), light.cells)
        return View(face, look, exact[FINE_POINTS, :2] - mesh[FINE_POINTS, :2], (seen, skin), tones, beard)

    def _stranger(self, image: Image, view: View, number: int, *, beta: float) -> Stranger:
        """Return who is drawn: a stranger, mixed with the person as far as beta asks for it."""
        prepared = self._prepared.pop(number, None)
        if prepared is None:
            texture = self._textures.texture(number)
            eye = eyes.eyeball(texture, self._network(texture, self._template_mesh(len(texture))))
            prepared = prepare(texture, self._points, self._common, eye, teeth.row(number), reader=self._reader)
        self._prepared[number] = prepared  # to the end, as the last that was asked for
        if len(self._prepared) > PREPARED:
            del self._prepared[next(iter(self._prepared))]
        stranger = self._as_person(prepared, view, number)
        if beta == 0.0:
            return stranger
        own = self._unlit(image, view)
        levels = []
        for level in stranger.levels:
            small = cv2.resize(own, level.shape[1::-1], interpolation=cv2.INTER_AREA)
            levels.append(np.asarray(level + np.float32(beta) * (small - level), np.float32))
        return replace(stranger, levels=tuple(levels))

    def _unlit(self, image: Image, view: View) -> Floats:
        """Return the log colours of the person's face less their light, `(S, S, 3)`, as a stranger's largest level."""
        light = enlarged(view.look.light, self._large.size)
        return np.asarray(logarithm(self._large.crop(image, view.face)) - light, np.float32)

    @torch.inference_mode()
    def _shading(self, meshes: Sequence[Floats], looks: Sequence[paint.Look]) -> Floats:
        """Return what expressions do to skin and light to features, `(N, C, C)`."""
        lights = np.stack([look.light for look in looks])
        stacked = (torch.from_numpy(values).to(self._device) for values in (np.stack(meshes), lights))
        return self._textures.shading(*stacked).cpu().numpy()

    def _as_person(self, stranger: Stranger, view: View, number: int) -> Stranger:
        """Return a stranger with colours and a beard like the person's; from afar, with shades of their own."""
        stranger = self._in_their_colours(stranger, view, number)
        shades = self._textures.coarse_shades(number)
        return stranger if shades is None else with_coarse(stranger, shades, self._inside, self._masks)

    def _in_their_colours(self, stranger: Stranger, view: View, number: int) -> Stranger:
        """Return a stranger with colours and a beard like the person's."""
        stranger = with_tones(stranger, view.tones, self._masks)
        return with_beard(stranger, view.beard) if self._textures.may_be_bearded(number) else stranger

    def _sketch(self, number: int) -> Stranger:
        """Return a stranger at the size at which they are tried on; their eyes are of the first that was."""
        texture = self._textures.small_texture(number)
        if self._usual_eye is None:
            self._usual_eye = eyes.eyeball(texture, self._network(texture, self._template_mesh(len(texture))))
        return prepare(
            texture, self._points, self._common, self._usual_eye, teeth.row(number), reader=self._reader, levels=1
        )

    def _template_mesh(self, side: int) -> Floats:
        return np.pad(self._points * side, ((0, 0), (0, 1))).astype(np.float32)

    def _steady(self, name: str, track: int, value: Floats, seconds: float, *, unit: float = 1.0) -> Floats:
        return self._filters[name].update(track, value, seconds, unit=unit)

    def _finer(self, track: Track) -> Floats:
        """Return the mesh of a track with the lips and lids that were seen last."""
        mesh = mesh_of(track).copy()
        mesh[FINE_POINTS, :2] += self._made[track.id].view.fine
        return mesh

    def _face(
        self, canvas: paint.Canvas, view: View, stranger: Stranger, mesh: Floats, shading: Floats, *, own: float
    ) -> tuple[Floats, Floats]:
        """Return the new face on the canvas and the log colours of skin in the person's light, `(h, w, 3)` each.

        Raises:
            FloatingPointError: If it has values that are not finite.
        """
        lit = paint.expected(canvas, view.look)
        patch = paint.face(
            canvas,
            stranger,
            view.look,
            mouth.inside(view.mouth[0], stranger.teeth, skin=view.mouth[1], gap=mouth.gap(mesh)),
            lit=lit,
            mesh=mesh,
            places=self._eyes,
            shading=shading,
            own=own,
        )
        if not np.isfinite(patch.mean()):
            raise FloatingPointError("the drawn face has values that are not finite")
        return patch, lit

    def _harmonize(
        self,
        image: Image,
        face: Face,
        strength: Floats,
        canvas: paint.Canvas,
        *,
        follow: Callable[[Ask], Floats] | None = None,
    ) -> None:
        """Make a face that was drawn so strongly belong into `image`, in place.

        Eyes are only lit and softened, nostrils only lit. `follow` tells what is to be added, and is told how to ask
        the network; without, that is asked.
        """
        mesh = face.mesh
        assert mesh is not None  # it was drawn
        around = eyes.around(mesh, canvas.roi, canvas.width)

        def ask() -> Floats:
            openings = cv2.max(around, eyes.around(mesh, canvas.roi, canvas.width, NOSTRIL_OUTLINES))
            network = self._textures.harmonizer
            return change(image, face.box, strength, canvas.roi, network, self._device, openings=openings)

        harmonize(image, strength, canvas.roi, follow(ask) if follow else ask())
        eyes.soften(image, strength * around, canvas.roi, canvas.width)


def _place(points: Floats, indices: Sequence[int]) -> tuple[int, int]:
    """Return row and column of the middle of some points in a crop of `SIDE` pixels."""
    x, y = np.clip(points[list(indices)].mean(axis=0) * SIDE, 0, SIDE - 1)
    return int(y), int(x)
