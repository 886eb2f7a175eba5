"""Cut faces out of frames into a model's crops, and find the way back. Knows no model and no video.

Two kinds of template, as a model's checkpoint says: a *similarity* (five points, as FFHQ and ArcFace crops) and a
*mesh*, in which every pixel of the crop is always the same spot of a face: the 468-point mesh, with a ring around its
oval, is carried piecewise linearly onto the template, so that pose and expression stay in the mesh and the crop holds
appearance alone.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from models.face_mesh import FACE_OVAL
from streamer.types import Face, Floats, Image

# fmt: off
FEATURES = np.array([  # eyelids, lips (outer, inner), nose: what must not be smoothed away by thinning the mesh
    33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
    263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
    1, 2, 4, 5, 98, 327, 168, 129, 358])
# fmt: on
OVAL = np.array(FACE_OVAL)
OCTAGON = np.array([(np.cos(a), np.sin(a)) for a in np.arange(8) * np.pi / 4], np.float32)
RING_SCALE = 1.22  # the ring lies this far from the centre of the oval, in oval radii: room for the blend to fade
MESH_POINTS = 190  # of 468: thinner meshes bend features, denser ones only cost time
MAP_SIZE = 160  # pixels; a way back is drawn at most this large and then enlarged, it is smooth
# Areas of triangles in the frame, the mean of the face's being 1: how much of the frame's each one shows.
HIDDEN, SEEN = 0.2, 0.55  # up to where its mirror image is cut into the crop instead, and from where on it is itself
FACE_SEEN = 0.12  # drawn from here on: less is a line of pixels at the outline of a turned head
RING_SEEN = 0.3  # the same of the ring around the face: where it is smaller, background is
SEEN_BLUR = 0.03  # of the crop's side: how softly what is seen passes into what is mirrored
CROP_MARGIN = 4  # pixels around a crop, that are shrunk with it
HOLE = 3  # pixels of a way back that hidden triangles may leave open

Pixels = TypeVar("Pixels", Image, Floats)


class Aligner(Protocol):
    """Carries faces between frame and crop for one template."""

    def crop(self, image: Image, face: Face) -> Image:
        """Return the `(S, S, 3)` uint8 RGB crop of `face`."""
        ...

    def whole(self, image: Image, face: Face) -> Image:
        """Return the crop with what the frame does not show of the face made up, where the template lets one."""
        ...

    def frame_to_crop(self, face: Face, roi: tuple[int, int, int, int]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return where each frame pixel of `roi` (`x1, y1, x2, y2`) lies in the crop, `(h, w, 2)`, and which do."""
        ...


def oval_polygon(mesh: Floats, scale: float = 1.0) -> Floats:
    """Return the face oval of a `(468, 3)` mesh as a `(36, 2)` polygon in pixels, scaled about its centre."""
    oval = mesh[OVAL, :2]
    center = oval.mean(axis=0)
    return np.asarray(center + scale * (oval - center), np.float32)


def outline(mesh: Floats, margin: float) -> Floats:
    """Return the convex `(N, 2)` outline of a `(468, 3)` mesh in pixels, `margin` of its longer side outside of it.

    Facing the camera that is about the oval; of a turned head the nose is part of it.
    """
    hull = cv2.convexHull(np.ascontiguousarray(mesh[:, :2], np.float32))[:, 0]
    moves = margin * float(np.ptp(hull, axis=0).max()) * OCTAGON
    return np.asarray(cv2.convexHull((hull[:, None] + moves).reshape(-1, 2))[:, 0], np.float32)


def profile_ratio(mesh: Floats) -> float:
    """Return where the nose tip lies across the face's oval: .5 facing the camera, towards 1 in profile."""
    left, right, nose = mesh[234, :2], mesh[454, :2], mesh[1, :2]
    across = right - left
    share = float((nose - left) @ across / max(float(across @ across), 1e-6))
    return max(share, 1.0 - share)


def umeyama(source: Floats, target: Floats) -> Floats:
    """Return the `(2, 3)` similarity that carries `source` to `target` with least squares (Umeyama 1991).

    Args:
        source, target: `(N, 2)` points.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centered = source - source_mean
    u, singular, vt = np.linalg.svd((target - target_mean).T @ centered / len(source))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float((singular * sign).sum() / centered.var(axis=0).sum())
    matrix = scale * rotation
    return np.hstack([matrix, (target_mean - matrix @ source_mean)[:, None]]).astype(np.float32)


class SimilarityAligner:
    """Crops by the similarity between five landmarks and a template."""

    def __init__(self, points: Floats, size: int) -> None:
        """Take `points`, `(5, 2)` in the unit square, image-left first, and the crop's side in pixels."""
        self.points, self.size = np.asarray(points, np.float32) * size, size

    def crop(self, image: Image, face: Face) -> Image:
        """Return the `(S, S, 3)` uint8 RGB crop of `face`."""
        matrix = umeyama(face.landmarks, self.points)
        shrink = max(1.0, 1.0 / float(np.hypot(matrix[0, 0], matrix[1, 0])))
        if shrink > 2.0:  # area sampling first, or fine detail turns into moire
            image, start = self._around(image, matrix, least=shrink)
            matrix[:, 2] += matrix[:, :2] @ (start + (shrink - 1) / 2)  # pixels are counted from their middles
            image = cv2.resize(image, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
            matrix[:, :2] *= shrink
        return np.asarray(cv2.warpAffine(image, matrix, (self.size, self.size), borderMode=cv2.BORDER_REPLICATE))

    def _around(self, image: Image, matrix: Floats, *, least: float) -> tuple[Image, Floats]:
        """Return the part of `image` that a crop is cut from, and where it begins.

        All of it if less than `least` pixels across lie inside.
        """
        to_image = cv2.invertAffineTransform(matrix)
        side = self.size + CROP_MARGIN
        corners = np.array([(x, y, 1) for x in (-CROP_MARGIN, side) for y in (-CROP_MARGIN, side)]) @ to_image.T
        x1, y1 = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        x2, y2 = np.maximum(np.ceil(corners.max(axis=0)).astype(int), 0)
        part = image[y1:y2, x1:x2]
        is_enough = min(part.shape[:2]) >= least
        return (part, np.array([x1, y1], np.float32)) if is_enough else (image, np.zeros(2, np.float32))

    def whole(self, image: Image, face: Face) -> Image:
        """Return the crop: five points do not tell what is hidden."""
        return self.crop(image, face)

    def frame_to_crop(self, face: Face, roi: tuple[int, int, int, int]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return where each frame pixel of `roi` lies in the crop, `(h, w, 2)`, and which do."""
        matrix = umeyama(face.landmarks, self.points)
        x, y = np.meshgrid(np.arange(roi[0], roi[2]), np.arange(roi[1], roi[3]))
        where = np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float32) @ matrix.T
        inside = ((where >= 0) & (where <= self.size - 1)).all(axis=-1)
        return where, inside


class MeshAligner:
    """Crops by carrying each triangle of a thinned mesh onto the template."""

    def __init__(self, points: Floats, size: int, *, map_size: int = MAP_SIZE) -> None:
        """Take `points`, `(468, 2)` in the unit square, and in pixels the crop's side and that of ways back."""
        self.size, self._map_size = size, map_size
        template = np.asarray(points, np.float32) * size
        self.kept = thin(template, MESH_POINTS)
        self.points = self._with_ring(np.pad(template, ((0, 0), (0, 1))))[:, :2]  # (V, 2) crop pixels
        self.triangles = delaunay(self.points)  # (T, 3)
        everything = np.ones(len(self.triangles), bool)
        self._owner = self._paint(np.pad(self.points, ((0, 0), (0, 1))), (size, size), everything)  # (S, S)
        self.inside = self._owner >= 0
        self._corners = self._barycentric()
        self._area = _areas(self.points[self.triangles])
        self._least_share = np.where((self.triangles >= MESH_POINTS).any(axis=1), RING_SEEN, FACE_SEEN)

    def crop(self, image: Pixels, face: Face) -> Pixels:
        """Return the `(S, S, 3)` crop of `face`, of the kind of `image`; black, or 0, outside the ring."""
        points = self._with_ring(self._mesh(face))[:, :2]
        where = self._crop_to_frame(points)
        x1, y1 = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
        x2, y2 = np.maximum(np.ceil(points.max(axis=0)).astype(int) + 2, 1)
        patch: Pixels = np.ascontiguousarray(image[y1:y2, x1:x2]) if image[y1:y2, x1:x2].size else image
        if patch is not image:
            where -= np.array([x1, y1], np.float32)
        shrink = float(np.sqrt(np.prod(np.ptp(points, axis=0)))) / (2 * self.size)
        if shrink > 1.0:  # area sampling first, or fine detail turns into moire
            height, width = patch.shape[:2]
            small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
            patch = cv2.resize(patch, small, interpolation=cv2.INTER_AREA)
            where = (where + 0.5) * np.array([small[0] / width, small[1] / height], np.float32) - 0.5
        crop = cv2.remap(patch, where.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(crop * self.inside[..., None])

    def whole(self, image: Image, face: Face) -> Image:
        """Return the crop with the hidden side of a turned head made the mirror image of the other side.

        The template must be symmetric.
        """
        crop, seen = self.crop(image, face), self._seen(self._with_ring(self._mesh(face))[:, :2])
        mirrored = (1.0 - seen) * seen[:, ::-1]
        if mirrored.max() < 0.01:
            return crop
        made = crop + mirrored[..., None] * (crop[:, ::-1].astype(np.float32) - crop)
        return np.asarray(made + 0.5, np.uint8)

    def frame_to_crop(self, face: Face, roi: tuple[int, int, int, int]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return where each frame pixel of `roi` lies in the crop, `(h, w, 2)`, and which do.

        Where the mesh folds over itself (the far side of a turned head), the nearer triangle wins.
        """
        width, height = roi[2] - roi[0], roi[3] - roi[1]
        scale = min(1.0, self._map_size / max(width, height))
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        stretch = np.array([small[0] / width, small[1] / height], np.float32)
        points = self._with_ring(self._mesh(face))
        points[:, :2] = (points[:, :2] - np.array(roi[:2], np.float32) + 0.5) * stretch - 0.5
        owner, inside = grown(self._paint(points, small, self._share(points) > self._least_share))
        maps = self._inverse(points[:, :2]).transpose(1, 2, 0)  # (2, 3, T)
        x, y = np.arange(small[0], dtype=np.float32), np.arange(small[1], dtype=np.float32)[:, None]
        axes = [across.take(owner) * x + down.take(owner) * y + start.take(owner) for across, down, start in maps]
        where = cv2.merge(axes)
        if scale < 1.0:
            where = cv2.resize(where, (width, height), interpolation=cv2.INTER_LINEAR)
            inside = cv2.resize(inside.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
        return np.asarray(where, np.float32), inside

    def known(self, image: Image, face: Face) -> npt.NDArray[np.bool_]:
        """Return which crop pixels lie inside both the mesh and the image, `(S, S)`."""
        where = self._crop_to_frame(self._with_ring(self._mesh(face))[:, :2])
        last = np.array(image.shape[1::-1], np.float32) - 0.5
        return np.asarray(((where >= -0.5) & (where <= last)).all(axis=-1) & self.inside)

    def _seen(self, points: Floats) -> Floats:
        """Return how well the frame shows each crop pixel, `(S, S)` in [0, 1]: 0 on the far side of a turned head."""
        triangles = np.clip((self._share(points) - HIDDEN) / (SEEN - HIDDEN), 0.0, 1.0)
        seen = self._blurred(triangles[self._owner] * self.inside)
        return np.asarray(seen / np.maximum(self._blurred(self.inside), 0.1), np.float32)

    def _blurred(self, values: npt.NDArray[Any]) -> Floats:
        return np.asarray(cv2.GaussianBlur(values.astype(np.float32), (0, 0), SEEN_BLUR * self.size))

    def _share(self, points: Floats) -> Floats:
        """Return how large each triangle is in the frame, `(T,)`: 1 is the mean; negative is one that faces away."""
        area = _areas(points[self.triangles][..., :2]) / self._area
        return np.asarray(area / max(float(np.abs(area).mean()), 1e-6), np.float32)

    def _crop_to_frame(self, points: Floats) -> Floats:
        where = sum(weight * points.take(index, axis=0) for index, weight in self._corners)
        return np.asarray(where, np.float32).reshape(self.size, self.size, 2)

    def _mesh(self, face: Face) -> Floats:
        if face.mesh is None:
            raise ValueError("a mesh template needs a face with a mesh")
        return face.mesh

    def _with_ring(self, mesh: Floats) -> Floats:
        oval = mesh[OVAL]
        center = oval.mean(axis=0)
        ring = center + RING_SCALE * (oval - center)
        return np.asarray(np.concatenate([mesh[self.kept], ring]), np.float32)

    def _paint(self, points: Floats, size: tuple[int, int], painted: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
        """Return the index of the triangle that owns each pixel, -1 for none; far triangles are painted first.

        Args:
            points: `(V, 3)` in pixels.
            size: Width and height.
            painted: `(T,)`, which triangles are.
        """
        owner = np.full((size[1], size[0]), -1, np.int32)
        corners = points[self.triangles]  # (T, 3, 3)
        fixed = np.round(corners[..., :2] * 16).astype(np.int32)
        order = np.argsort(-corners[..., 2].mean(axis=1))
        for triangle in order[painted[order]].tolist():
            cv2.fillConvexPoly(owner, fixed[triangle], triangle, shift=4)
        return owner

    def _inverse(self, points: Floats) -> Floats:
        """Return `(T, 2, 3)` affine maps from pixels to the crop, one per triangle; degenerate ones are zero."""
        source = np.concatenate([points[self.triangles], np.ones((len(self.triangles), 3, 1), np.float32)], axis=2)
        flat = np.abs(np.linalg.det(source)) < 1e-3
        source[flat] = np.eye(3, dtype=np.float32)
        matrices = np.linalg.solve(source, self.points[self.triangles]).transpose(0, 2, 1)
        matrices[flat] = 0.0
        return np.asarray(matrices, np.float32)

    def _barycentric(self) -> list[tuple[npt.NDArray[np.intp], Floats]]:
        """Return which points the triangle of each crop pixel has, one corner after the other, and their weights.

        Each is `(S * S,)` and `(S * S, 2)`, the same for x and y.
        """
        owned = self.triangles[self._owner].reshape(-1, 3)
        a, b, c = (self.points[owned[:, corner]] for corner in range(3))
        y, x = np.mgrid[: self.size, : self.size].astype(np.float32)
        p = np.stack([x, y], axis=-1).reshape(-1, 2)
        area = _cross(b - a, c - a)
        parts = _cross(c - b, p - b), _cross(a - c, p - c), _cross(b - a, p - a)
        weights = [np.stack([part / area] * 2, axis=-1).astype(np.float32) for part in parts]
        return [(owned[:, corner].copy(), weight) for corner, weight in enumerate(weights)]


def thin(template: Floats, count: int) -> npt.NDArray[np.intp]:
    """Return `count` of the 468 mesh indices: oval, features, then the rest by farthest-point sampling."""
    kept = list(dict.fromkeys([*FACE_OVAL, *FEATURES.tolist()]))
    distance = np.linalg.norm(template[:, None] - template[kept], axis=2).min(axis=1)
    while len(kept) < count:
        kept.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(template - template[kept[-1]], axis=1))
    return np.array(kept)


def delaunay(points: Floats) -> npt.NDArray[np.int32]:
    """Return the `(T, 3)` Delaunay triangles of `(V, 2)` points, as indices."""
    low, high = points.min(axis=0) - 2, points.max(axis=0) + 2
    subdivision = cv2.Subdiv2D((int(low[0]), int(low[1]), int(high[0] - low[0]) + 2, int(high[1] - low[1]) + 2))
    subdivision.insert(points.astype(np.float32))
    corners = np.asarray(subdivision.getTriangleList()).reshape(-1, 3, 2)
    vertex = {point: index for index, point in enumerate(map(tuple, points.tolist()))}
    triangles = [[vertex.get(tuple(p)) for p in triangle] for triangle in corners.tolist()]
    return np.array([t for t in triangles if None not in t], np.int32)


def grown(owner: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Return `owner` `(h, w)` grown by a few pixels into what is nobody's (-1), and where it was or had a small hole.

    Grown, so that enlarging never mixes a place in the crop with none.
    """
    kernel = np.ones((HOLE, HOLE), np.uint8)
    inside = cv2.morphologyEx((owner >= 0).astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    neighbour = cv2.dilate(owner.astype(np.float32), kernel).astype(np.int32)
    return np.where(owner < 0, neighbour, owner), inside


def _areas(triangles: Floats) -> Floats:
    """Return twice the signed areas of `(..., 3, 2)` triangles."""
    a, b, c = (triangles[..., corner, :] for corner in range(3))
    return _cross(b - a, c - a)


def _cross(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])
