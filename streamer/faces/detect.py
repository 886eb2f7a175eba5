"""Finds the faces of one image and fits a mesh to each; knows nothing of time.

MediaPipe's short range looks at the whole frame, its full range also at overlapping tiles of a large frame, because
their inputs are only 128 and 192 pixels wide. The face mesh then runs on each candidate: it gives the landmarks, and
its own presence score decides about candidates that the detectors doubt.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import cv2
import numpy as np

from models.face_mesh import IMAGE_LEFT_EYE, IMAGE_LEFT_MOUTH, IMAGE_RIGHT_EYE, IMAGE_RIGHT_MOUTH, NOSE_TIP
from streamer.errors import AnonymizerError
from streamer.faces.looks import MAX_TILES, Scan, looks, shrunk_views
from streamer.faces.networks import LANES, MESH_SIDE, FaceNetworks, LastingNetworks
from streamer.pool import Shared
from streamer.types import Face, Floats, Image

LEAST_SCORE = 0.3  # YuNet sees a face in a third of what scores .3 to .5 on 13 clips, in 94 % of what scores more
MESH_PRESENCE = 0.5  # MediaPipe's own: where YuNet sees no face, 3 to 10 % reach it; of clear faces, 95 %
MESH_AGREEMENT = 0.4  # least IoU of the mesh with the detector's box: below, the mesh slid to something else
MESH_REACH = 1.5  # ROI over face, as MediaPipe: 72 % of faces get a mesh, at 1.3 75, at 1.75 67 (three clips)
MESH_LIGHT = 100.0  # mean grey level that a dark ROI is raised to: 75 instead of 62 % of faces on a dark stage
MAX_GAIN = 4.0  # beyond it there is mostly noise to raise
MAX_MESHES = 32  # per frame, best candidates first: 4 ms each; sure faces beyond it get no mesh

SAME_IOU = 0.35  # two boxes of the same face found by two models or in two tiles
SAME_SHARE = 0.7  # share of the smaller box inside the larger: one is a part of the face
SAME_OVAL = 0.45  # share of a face inside the oval of a mesh: parts of that face .51 to .79, neighbours up to .38
MUCH_LARGER = 1.5  # times as wide
SAME_POINTS = 0.35  # of the smaller size: how far eyes, nose and mouth of one face lie apart in two detections; of 76
# that gave way to others on 6 clips they lay up to .33 apart in 64, .39 to .55 in 3 tiny ones, from 1.5 in the rest
PART = 0.65  # of the size of the whole, that a part of a face has at most: one that is larger, and certain, is a face
FILLING = 0.8  # of the frame's shorter side: faces this wide are looked for from afar
SURE = 0.5  # a face with less is doubted
CERTAIN = 0.7  # YuNet confirms 74 of 75 such detections
LARGE = 0.14  # of the frame's longer side: a face this wide is easy; YuNet sees 4 of 18 with .5 to .7 and no mesh
DOUBTED = 0.49  # at most, for a large face that the detector or the mesh doubts

# Ears, brow and chin in widths of the detector's box from its centre: medians of 1,242 meshes of 10 clips, outwards.
BOX_OF_FULL = np.array([-0.45, -0.35, 0.45, 0.52], np.float32)
BOX_OF_SHORT = np.array([-0.45, -0.42, 0.45, 0.49], np.float32)
FOREHEAD = 0.17  # in widths of the detector's box: how far the mesh reaches above the brow

FACE = [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]  # brows
FACE += [1, 4]  # the nose is the outline of a profile
FACE += [356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152]  # ear to chin
FACE += [148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127]  # chin to ear
HALF_MOUTH = 0.414  # of the distance of the eyes, from the alignment template (.2235 / .27 / 2)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A detection before the mesh has seen it, with the detector's own score.

    keypoints: `(6, 2)` float32: eye, eye, nose tip, middle of the mouth, ear, ear; image-left first.
    hides: Whether one gave way to it that may be another face.
    """

    box: Floats
    keypoints: Floats
    score: float
    hides: bool = False


Scanned = Mapping[Scan, Sequence[Candidate]]  # what each look at a picture shows


class FaceDetector:
    """The union of MediaPipe's detectors with a mesh per face.

    Any number of threads may share one: a call waits for those before it. A graph that failed is thrown away, and the
    next call makes a new one.

    Args:
        networks: Shared with other detectors (`shared_networks`); None for its own.
        max_tiles: Most tiles per frame. Small faces of frames beyond 1080p need more than `MAX_TILES`.

    Raises:
        AnonymizerError: When MediaPipe does not start.
    """

    def __init__(self, networks: Shared[LastingNetworks] | None = None, *, max_tiles: int = MAX_TILES) -> None:
        if max_tiles < 1:
            raise ValueError(f"max_tiles must be at least 1, got {max_tiles}")
        self.max_tiles = max_tiles
        self._shared = networks or shared_networks(limit=1)
        self._pool = self._shared.join()
        self._is_closed = False
        self._searching, self._scanning = threading.Lock(), threading.Lock()
        try:
            with self._pool.borrowed():  # whether MediaPipe starts at all is said at once
                pass
        except BaseException:
            self.close()
            raise

    def __call__(self, image: Image, some: Sequence[Scan] | None = None, scanned: Scanned | None = None) -> list[Face]:
        """Return the faces of `image`, the best detections first; also doubtful ones, down to `LEAST_SCORE`.

        A face with a mesh has the better of the two models' scores: that the mesh fits is evidence. What is under
        `SURE` is doubted by both, or large and doubted by one: it is for a tracker, which knows if a face was there.

        Args:
            image: `(H, W, 3)` uint8 RGB; not modified.
            some: Of `looks`, those to take; None for all.
            scanned: What `scan` returned for this image, if that was done before.

        Raises:
            ValueError: If `image` is not that.
            AnonymizerError: When MediaPipe fails, or this is closed.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
        with self._running() as networks:
            taken = self._looks(image) if some is None else some
            seen = _scanned(networks, image, taken) if scanned is None else scanned
            filling = FILLING * min(image.shape[:2])
            candidates = non_max_suppression((c for look in taken for c in seen[look]), filling)
            rest = candidates[MAX_MESHES:]
            doubted = [c for c in rest if c.score < SURE]  # a mesh decides about each, however many they are
            faces = self._fit(networks, image, candidates[:MAX_MESHES] + doubted)
        return drop_nested(faces) + [without_mesh(c, c.score) for c in rest if c.score >= SURE]

    def scan(self, image: Image, some: Sequence[Scan] | None = None) -> Scanned:
        """Return what each look at `image` shows; for a thread beside the one that calls this detector otherwise.

        Args:
            image: As of a call.
            some: As of a call.

        Raises:
            AnonymizerError: When MediaPipe fails, or this is closed.
        """
        with self._running(self._scanning) as networks:
            return _scanned(networks, image, self._looks(image) if some is None else some)

    def _looks(self, image: Image) -> list[Scan]:
        return looks(image.shape[1], image.shape[0], max_tiles=self.max_tiles)

    def fit(self, image: Image, candidates: Sequence[Candidate]) -> list[Face]:
        """Return the face of each of `candidates`, which another network found in `image`, with a mesh if one fits.

        Raises:
            AnonymizerError: When MediaPipe fails, or this is closed.
        """
        with self._running() as networks:
            return self._fit(networks, image, candidates)

    def meshes(self, image: Image, crops: Sequence[Floats]) -> list[Floats | None]:
        """Return the mesh in each of `crops`, as of `Face.crop`, or None where no face is.

        Raises:
            AnonymizerError: When MediaPipe fails, or this is closed.
        """
        with self._running() as networks:
            outputs = networks.run((f"crop{n % LANES}", sample(image, crop)) for n, crop in enumerate(crops))
        found: list[Floats | None] = []
        for n, crop in enumerate(crops):
            is_there = outputs[f"presence{n % LANES}", n // LANES] >= MESH_PRESENCE
            points = np.array(outputs[f"points{n % LANES}", n // LANES], np.float32)
            found.append(_to_frame(points, crop) if is_there else None)
        return found

    def close(self) -> None:
        """Free MediaPipe's threads and memory, unless others use them; later calls raise `AnonymizerError`.

        A search that has begun is waited for: Python must not end inside MediaPipe.
        """
        with self._searching, self._scanning:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._shared.leave()

    @contextmanager
    def _running(self, one_by_one: threading.Lock | None = None) -> Iterator[FaceNetworks]:
        with self._pool.borrowed() as lasting, one_by_one or self._searching:
            if self._is_closed:
                raise AnonymizerError("the face detector is closed")
            with lasting.running() as networks:
                yield networks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fit(self, networks: FaceNetworks, image: Image, candidates: Sequence[Candidate]) -> list[Face]:
        transforms = [crop_to_frame(candidate) for candidate in candidates]
        outputs = networks.run((f"crop{n % LANES}", sample(image, t)) for n, t in enumerate(transforms))
        faces = []
        for n, (candidate, transform) in enumerate(zip(candidates, transforms, strict=True)):
            presence = outputs[f"presence{n % LANES}", n // LANES]
            mesh = _to_frame(np.array(outputs[f"points{n % LANES}", n // LANES], np.float32), transform)
            fits = presence >= MESH_PRESENCE and agrees(mesh, candidate.box)
            large = candidate.box[2] - candidate.box[0] >= LARGE * max(image.shape[:2])
            score = (judged_large if large else max)(candidate.score, presence if fits else 0.0)
            faces.append(_with_mesh(candidate, mesh, score, transform) if fits else without_mesh(candidate, score))
        return faces


def _scanned(networks: FaceNetworks, image: Image, taken: Sequence[Scan]) -> Scanned:
    """Return what each of the looks that are `taken` shows, in pixels of `image`."""
    shrunk = shrunk_views(image, {look.view for look in taken})
    short, full = ([look for look in taken if look.network == network] for network in ("short", "full"))
    inputs = [("short", shrunk[look.view]) for look in short]
    inputs += [(f"full{n % LANES}", shrunk[look.view]) for n, look in enumerate(full)]
    outputs = networks.run(inputs)
    seen = {look: read(outputs.get(("near", n), []), look.view, BOX_OF_SHORT) for n, look in enumerate(short)}
    least = FILLING * min(image.shape[:2])
    for look in (look for look in short if look.view[0] < 0):  # from afar smaller ones are told badly
        seen[look] = [candidate for candidate in seen[look] if np.ptp(candidate.box[::2]) >= least]
    for n, look in enumerate(full):
        seen[look] = read(outputs.get((f"faces{n % LANES}", n // LANES), []), look.view, BOX_OF_FULL)
    return seen


def shared_networks(*, limit: int) -> Shared[LastingNetworks]:
    """Return networks for any number of detectors, of which so many search at the same time."""
    return Shared(lambda: LastingNetworks(least_score=LEAST_SCORE), limit=limit)


def non_max_suppression(candidates: Iterable[Candidate], filling: float = math.inf) -> list[Candidate]:
    """Return the candidates that are not at the place of a better one, best score first; those say what they hide.

    Sure ones of a width of `filling` pixels stay beside much smaller ones: in a face that fills the frame others are
    made out.
    """
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: c.score, reverse=True):
        ious, shares = overlaps(candidate.box, np.array([k.box for k in kept], np.float32).reshape(-1, 4))
        better = np.flatnonzero((ious > SAME_IOU) | (shares > SAME_SHARE)).tolist()
        is_other = not any(_is_same(candidate, kept[n]) for n in better)
        fills = candidate.score >= SURE and np.ptp(candidate.box[::2]) >= filling
        if not better or (is_other and fills and _is_around(candidate, [kept[n] for n in better])):
            kept.append(candidate)
        elif is_other:
            for n in better:
                kept[n] = replace(kept[n], hides=True)
    return kept


def _is_around(candidate: Candidate, others: Sequence[Candidate]) -> bool:
    """Return whether a candidate is much larger than each of the others."""
    return all(np.ptp(candidate.box[::2]) >= MUCH_LARGER * np.ptp(other.box[::2]) for other in others)


def _is_same(a: Candidate, b: Candidate) -> bool:
    return same_points(a.keypoints[:4], b.keypoints[:4], min(a.box[2] - a.box[0], b.box[2] - b.box[0]))


def same_points(a: Floats, b: Floats, size: float) -> bool:
    """Return whether `(N, 2)` points of two detections are those of one face, `size` pixels large in the smaller."""
    return bool(np.linalg.norm(a - b, axis=1).max() <= SAME_POINTS * size)


def judged_large(detected: float, presence: float) -> float:
    """Return the score of a large face: doubted unless the detector is certain or both models are sure."""
    return max(detected, presence) if detected >= CERTAIN or min(detected, presence) >= SURE else min(detected, DOUBTED)


def drop_nested(faces: Sequence[Face]) -> list[Face]:
    """Return the faces, in order, without those mostly inside the oval of another's mesh; those say what they hide.

    Mostly they are a part of it. What the detectors are certain of, about as large and with a mesh, eyes, nose and
    mouth of its own, is none: two people cheek to cheek. A doubted face never takes the place of a sure one, nor a
    smaller one that of a larger one, whatever their scores. A box without a mesh takes no face's place: faces side by
    side share up to .68 of such a box.
    """
    ovals: list[tuple[Floats, Face]] = []
    parts, hiding = set[int](), set[int]()
    for face in sorted(faces, key=lambda f: (f.score < SURE, f.mesh is None, -f.size)):
        outline = _outline(face)
        area = max(cv2.contourArea(outline), 1e-6)
        over = [whole for oval, whole in ovals if cv2.intersectConvexConvex(oval, outline)[0] > SAME_OVAL * area]
        is_same = any(same_points(face.landmarks, f.landmarks, min(face.size, f.size)) for f in over)
        is_large = all(face.size >= PART * f.size for f in over)
        if over and (is_same or not is_large or face.mesh is None or face.score < CERTAIN):
            parts.add(id(face))
            if not is_same:
                hiding |= {id(whole) for whole in over}
        elif face.mesh is not None:
            ovals.append((outline, face))
    kept = (face for face in faces if id(face) not in parts)
    return [replace(face, hides=True) if id(face) in hiding else face for face in kept]


def overlaps(box: Floats, boxes: Floats) -> tuple[Floats, Floats]:
    """Return how `box` overlaps each of `boxes` `(N, 4)`: area of both over the union, and over the smaller one."""
    size = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    both: Floats = np.maximum(size, 0).prod(axis=1)
    area, areas = (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return both / (area + areas - both), both / np.maximum(np.minimum(area, areas), 1e-6)


def agrees(mesh: Floats, box: Floats) -> bool:
    """Return whether `mesh` `(468, 3)` lies on the face that the detector put into `box`."""
    return bool(overlaps(_bounds(mesh), box[None])[0][0] >= MESH_AGREEMENT)


def five_points(mesh: Floats) -> Floats:
    """Return the `(5, 2)` landmarks of LAYOUT.md 5 of a `(468, 3)` mesh."""
    eyes = [mesh[list(IMAGE_LEFT_EYE)].mean(axis=0), mesh[list(IMAGE_RIGHT_EYE)].mean(axis=0)]
    points: Floats = np.stack([*eyes, mesh[NOSE_TIP], mesh[IMAGE_LEFT_MOUTH], mesh[IMAGE_RIGHT_MOUTH]])
    return points[:, :2]


def estimated_points(keypoints: Floats) -> Floats:
    """Return the `(5, 2)` landmarks of a detector's `(6, 2)` keypoints, which have only the middle of the mouth."""
    left_eye, right_eye, nose, mouth = keypoints[:4]
    half = HALF_MOUTH * (right_eye - left_eye)
    return np.stack([left_eye, right_eye, nose, mouth - half, mouth + half])


def without_mesh(candidate: Candidate, score: float) -> Face:
    """Return the face of a candidate that no mesh was fitted to."""
    return Face(candidate.box, estimated_points(candidate.keypoints), None, score, candidate.hides)


def _with_mesh(candidate: Candidate, mesh: Floats, score: float, crop: Floats) -> Face:
    bounds = _bounds(mesh)
    # The union, because whichever of the two is wrong, the face is in the other.
    box = np.concatenate([np.minimum(bounds[:2], candidate.box[:2]), np.maximum(bounds[2:], candidate.box[2:])])
    return Face(box, five_points(mesh), mesh, score, candidate.hides, crop=crop)


def _bounds(mesh: Floats) -> Floats:
    return np.concatenate([mesh[FACE, :2].min(axis=0), mesh[FACE, :2].max(axis=0)])


def _outline(face: Face) -> Floats:
    """Return the convex `(N, 2)` outline of the mesh, or the corners of the box."""
    corners = np.stack(np.meshgrid(face.box[::2], face.box[1::2]), axis=-1).reshape(4, 2)
    return np.asarray(cv2.convexHull(corners if face.mesh is None else face.mesh[FACE, :2])[:, 0])


def read(detections: list[Any], view: tuple[int, int, int, int], shape: Floats) -> list[Candidate]:
    """Return MediaPipe's `detections` in one view of the frame, in pixels of the frame; `shape` is their `BOX_OF_`."""
    start, size = np.array(view[:2]), np.array([view[2] - view[0], view[3] - view[1]])
    candidates = []
    for detection in detections:
        found = detection.location_data.relative_bounding_box
        centre = start + size * (found.xmin + found.width / 2, found.ymin + found.height / 2)
        box = np.tile(centre, 2) + shape * found.width * size[0]
        keypoints = start + size * [(point.x, point.y) for point in detection.location_data.relative_keypoints]
        candidates.append(Candidate(box.astype(np.float32), keypoints.astype(np.float32), float(detection.score[0])))
    return candidates


def crop_to_frame(candidate: Candidate) -> Floats:
    """Return the `(2, 3)` similarity from the mesh model's input to the frame: eyes level, 1.5 times the face."""
    x1, y1, x2, y2 = candidate.box
    width = (x2 - x1) / (BOX_OF_FULL[2] - BOX_OF_FULL[0])
    along = candidate.keypoints[1] - candidate.keypoints[0]
    along = along / max(float(np.linalg.norm(along)), 1e-6)
    down = np.array([-along[1], along[0]])
    centre = np.array([x1 + x2, y1 + y2]) / 2 - down * width * FOREHEAD / 2
    linear = np.stack([along, down], axis=1) * MESH_REACH * width / MESH_SIDE
    return np.column_stack([linear, centre - linear @ np.full(2, MESH_SIDE / 2)]).astype(np.float32)


def sample(image: Image, transform: Floats) -> Image:
    """Return the `(192, 192, 3)` input of the mesh model, whose pixels `transform` `(2, 3)` takes to `image`."""
    # A large face is sampled several times per pixel of the crop and averaged, or it aliases and the mesh trembles.
    times = min(4, max(1, round(math.hypot(*transform[:, 0]))))
    to_frame = transform.copy()
    to_frame[:, 2] += transform[:, :2].sum(axis=1) * (0.5 / times) - 0.5  # OpenCV counts from the centre of a pixel
    to_frame[:, :2] /= times
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (times * MESH_SIDE, times * MESH_SIDE)
    crop = cv2.warpAffine(image, to_frame, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    averaged = cv2.resize(crop, (MESH_SIDE, MESH_SIDE), interpolation=cv2.INTER_AREA)
    gain = min(MAX_GAIN, max(1.0, MESH_LIGHT / max(1.0, cv2.mean(averaged)[1])))
    return np.asarray(cv2.convertScaleAbs(averaged, alpha=gain))


def _to_frame(flat: Floats, transform: Floats) -> Floats:
    points = flat.reshape(-1, 3)  # (468, 3)
    xy = points[:, :2] @ transform[:, :2].T + transform[:, 2]
    return np.column_stack([xy, points[:, 2] * math.hypot(*transform[:, 0])]).astype(np.float32)
